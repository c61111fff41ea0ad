"""One thing has one name: words that were given up do not come back.

The glossary has the words of today. Names of before that stores and configurations may still hold are known to
`gh_tools/aliases.py` alone.
"""

import re
from pathlib import Path

import pytest

import gh_tools

ROOT = Path(gh_tools.__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    *(
        page
        for page in (ROOT / "share/gh_tools/docs").rglob("*.md")
        if "experiments" not in page.parts
    ),
]

# Pattern, what takes its place, and the folders (of the package, "docs" and "tests") that are held to it;
# "all" means all of them.
RETIRED = (
    (r"crews?|Crews?|[Ee]pitaph|Death|Ranks", "executor, exit reason, WorkerDied, MPI", "all"),
    (
        r"adopt(s|ed)?|settle(s|d)?|part_done",
        "load weights, record outcome, progress fraction",
        "training labels inference store dft cli",
    ),
    (r"doomed|workplace", "previous, staging", "all"),
    (r"quarter[_ ]turns?|bond_turns?|turn_to_bond|BondAngles", "rotation", "all"),
    (r"(turned|turns?) (into|about)", "rotated, rotation", "model orbitals scaleshift"),
    (r"usual|reversal|slopes", "orbital order, exchange of atoms, cotangents", "model"),
    (r"n_kinds|kinds? of pairs?", "pair type, species pair", "all"),
    (r"fit_potential|mean_levels|mean_deviation|no-potential", "on-site energy model", "all"),
    (r"most[ _]crowded", "densest environment", "all"),
    (r"probe", "training subset", "training"),
    (r"(?<!\.)nearest|spread", "r_min, neighbour", "scaleshift"),
    (
        r"(structures|cells|samples|stores) to learn from|kept for the end|to validate with",
        "training, validation, test set",
        "all",
    ),
    (r"learning rate has run out", "the schedule has ended", "all"),
    (r"taken off|taking off", "after aligning by a constant shift", "cli evaluation training docs"),
    (r"loops? (are|is) ended by hand", "fusion barriers", "all"),
    (r"Untrustworthy|NotFound", "UnreliableInertia, NotConverged", "all"),
    (
        r"Levels|[lL]evel_errors|LevelRows|level_rows|(certified|model|both|stack|mean)_levels",
        "eigenvalues",
        "all",
    ),
    (r"loss\.levels|loss_levels", "loss.eigenvalues", "all"),
    (
        r"(?<!Fermi )(?<!fermi_)levels|(an?|each|one|no|predicted|occupied|empty) level",
        "eigenvalue",
        "spectra evaluation training inference cli dft labels store orbitals scaleshift docs",
    ),
    (r"(once |with )?a constant (is )?taken off", "after aligning by a constant shift", "docs"),
)


def files(where: str) -> list[Path]:
    held = [path for path in (ROOT / "gh_tools").rglob("*.py") if path.name != "aliases.py"]
    if where == "all":
        return held + DOCUMENTS
    names = where.split()
    folders = [path for path in held if path.relative_to(ROOT / "gh_tools").parts[0] in names]
    return folders + (DOCUMENTS if "docs" in names else [])


@pytest.mark.parametrize(("pattern", "instead", "where"), RETIRED, ids=[r[1] for r in RETIRED])
def test_retired_words_do_not_come_back(pattern, instead, where):
    """In identifiers, keys, messages, comments and documents alike."""
    word = re.compile(rf"(?<![A-Za-z])({pattern})(?![A-Za-z])")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(where)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if word.search(line)
    ]
    assert found == [], f"say {instead}"
