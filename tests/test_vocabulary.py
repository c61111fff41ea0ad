"""One thing has one name: words that were given up do not come back.

The glossary has the words of today. Names of before that stores and configurations may still hold are known to
`gh_tools/aliases.py` alone, and to its test. Where a word that was given up also means something else, in plain
English or in another field, its pattern says so.
"""

import re
from pathlib import Path

import pytest

import gh_tools

ROOT = Path(gh_tools.__file__).parent.parent
# Dated pages and results are records of their day; data is not ours to word.
RECORDS = ("experiments", "results", "data")
OLD_NAMES = ("gh_tools/aliases.py", "tests/test_aliases.py", "tests/test_vocabulary.py")
TEXTS = {".py", ".md", ".toml", ".mk", ".sh", ".yml", ".bash", ".fish", ".1", ".cff", ".ipynb", ""}

# Pattern, what takes its place, and the folders (of the package, "docs", "share" and "tests") that are held to it;
# "all" means all of them.
RETIRED = (
    (r"crews?|Crews?|[Ee]pitaphs?|Deaths?|Ranks", "executor, exit reason, WorkerDied, MPI", "all"),
    (
        r"adopt(s|ed)?|settle(s|d)?|part_done",
        "load weights, record outcome, progress fraction",
        "all",
    ),
    (r"doomed|workplace", "previous, staging", "all"),
    (r"quarter[_ ]turns?|bond_turns?|turn_to_bond|BondAngles", "rotation", "all"),
    # Turns are taken, switches turned off and a turn comes: none of these is a rotation.
    (
        r"[Tt]urned(?! (off|on|out))|[Tt]urning(?! (off|on))|turns? (into|about|back|by|round|with)|turn (=|@)",
        "rotated, rotation",
        "all",
    ),
    (r"usual|reversal|slopes", "orbital order, exchange of atoms, cotangents", "model"),
    (r"kinds?", "pair type, species pair", "model"),
    (r"n_kinds|kinds? of pairs?|pair_type == kind", "pair type, species pair", "all"),
    # What LAMMPS computes with is a potential, as is what H is made of; of scale-shifts nothing is.
    (
        r"fit_potential|mean_levels|mean_deviation|no-potential|have_no_potential|fits? (a |the )?potential|potential of .gh-fit-scaleshift",
        "on-site energy model",
        "all",
    ),
    (r"most[ _]crowded", "densest environment", "all"),
    # Vectors that stochastic traces are taken with are called probe vectors everywhere.
    (
        r"prob(e|es|ed|ing)",
        "training subset",
        "training labels scaleshift evaluation trained_model",
    ),
    # Nearest neighbours and nearest images are what everyone calls them.
    (r"(?<!\.)nearest", "r_min, neighbour", "scaleshift"),
    (r"_?NEAREST|nearest_distance", "r_min, neighbour", "all"),
    # "WF centre and spread" stands in files of wannier90.
    (r"(?<!centre and )[Ss]preads?", "standard deviation, uncertainty, scatter", "all"),
    # Of a scale-shift a shift is a number in eV, and so it is of a spectrum.
    (
        r"i, j, shift|i\", \"j\", \"shift|(b|bonds?|blocks?|part|own|reference)\.shift|(cell|lattice) shifts?",
        "cell offset",
        "all",
    ),
    (
        r"(structures|cells|samples|stores) to learn from|kept for the end|to validate with|(?<!is )learned from"
        r"|held[- ]out|to (train|validate), |(training|train|validation|test|\{part\}) parts?",
        "training, validation, test set",
        "all",
    ),
    (r"learning rate has run out", "the schedule has ended", "all"),
    (
        r"taken? off|takes off|taking off|mean shift removed|without the mean",
        "after aligning by a constant shift",
        "all",
    ),
    (r"loops? (are|is) ended by hand", "fusion barriers", "all"),
    (r"Untrustworthy|(?<![A-Za-z])NotFound", "UnreliableInertia, NotConverged", "all"),
    (r"Levels|[lL]evel_errors|LevelRows|level_rows", "eigenvalues", "all"),
    # The Fermi level and the vacuum level are levels; what logs and compilers have is never called an energy's.
    (
        r"(?<!Fermi )(?<!fermi_)(?<!vacuum )(?<!solver/)levels|(energy|an?|each|one|no|predicted|occupied|empty) level",
        "eigenvalue",
        "all",
    ),
)


def part(path: Path) -> str:
    """Return what a file belongs to: a part of the package, or "docs", "share" or "tests"."""
    place = path.relative_to(ROOT).parts
    if place[0] == "gh_tools":
        return place[1]
    return place[0] if place[0] in ("tests", "share") and "docs" not in place else "docs"


def texts() -> list[Path]:
    folders = ("gh_tools", "tests", "share", ".github", ".ci")
    below = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [
        path
        for path in [*below, *ROOT.glob("*.md"), ROOT / "pyproject.toml"]
        if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts
        if not set(RECORDS) & set(path.relative_to(ROOT).parts[:-1])
        or path.is_relative_to(ROOT / "gh_tools")
        if str(path.relative_to(ROOT)) not in OLD_NAMES
    ]


LINES = {path: path.read_text().splitlines() for path in texts()}


@pytest.mark.parametrize(
    ("pattern", "instead", "where"), RETIRED, ids=[r[1] + ": " + r[0][:20] for r in RETIRED]
)
def test_retired_words_do_not_come_back(pattern, instead, where):
    """In identifiers, keys, messages, comments and documents alike."""
    word = re.compile(rf"(?<![A-Za-z])({pattern})(?![A-Za-z])")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, lines in LINES.items()
        if where == "all" or part(path) in where.split()
        for number, line in enumerate(lines, start=1)
        # The list of changes says what a name was.
        if word.search(line) and not (path.name == "CHANGELOG.md" and "was `" in line)
    ]
    assert found == [], f"say {instead}"
