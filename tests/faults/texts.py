"""Text that users name, damaged and hostile: configurations, files of structures, splits, formulas, and options.

Each draw is a command line, with what it reads written beside it; what comes of it is judged as that of any other case.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np

JUNK = [
    *("nan", "inf", "-inf", "-1", "0", "1e400", "1e-400", "9" * 30, "0x10", "1_000", "٣", "1e9", "1000000"),
    *("", " ", "\t", "\n", "\0", "\x1b[2J", "\u202e", "\ufeff", "é", "\ud800", "\r", "'", '"', "#", "=", "*"),
    *("null", "true", "[]", "{}", "[[]]", "{a = 1}", "[" * 500, "../../x", "/dev/zero", "/", ".", "%s", "X"),
    *("x" * 5000, "$(touch owned)", "os:system", "None", "Zz", "H", "1,1", "!!python/object:os.system"),
]  # fmt: skip
# ASE's formats that it writes as well as reads, by the names of files; of what has a cell and of what has none.
FORMATS = {
    "a.xyz": "extxyz",
    "plain.xyz": "xyz",
    "a.cif": "cif",
    "POSCAR": "vasp",
    "a.traj": "traj",
    "a.json": "json",
    "a.xsf": "xsf",
    "a.gen": "gen",
    "a.pdb": "proteindatabank",
    "geometry.in": "aims",
    "a.pwi": "espresso-in",
    "a.data": "lammps-data",
    "a.res": "res",
    "a.gro": "gromacs",
    "a.cfg": "cfg",
    "coord": "turbomole",
    "a.cube": "cube",
    "a.xyz.gz": "extxyz",
}
# Formats of Hamiltonians that are written as well as read.
PROGRAMS = ("deeph", "deeph-legacy", "deeptb", "abacus", "wannier90")
OTHER_OUTPUTS = (
    *("/dev/full", "/dev/null", ".", "/", "..", "", "fifo", "missing/y.zarr", "plain.txt", "folder", "link"),
    *("x.hamiltonians.zarr/y.zarr", "a\nb.zarr", "a" * 300, "plain.txt/y.zarr", "\x1b[2J.zarr", "-", "y.zarr/"),
)  # fmt: skip
# With "every", what is printed alone is also planned, which takes seconds.
CONFIGURED = (
    "gh-build -c {} -o y.zarr",
    "gh-label x.structures.zarr -c {} --print-config -o y.zarr",
    "gh-train x.scaleshift.zarr -c {} --print-config -o y.zarr",
    "gh-dos x.hamiltonians.zarr -c {} --dry-run -o y.zarr",
    "gh-bands x.hamiltonians.zarr -c {} --dry-run -o y.json",
)
OPTIONS = (
    "gh-build wse2 -n 1 --set size=[1,1] --seed 0 -j 1 -o y.zarr",
    "gh-build a.xyz --set images=0 --set rattle=0.1 -n 2 -o y.zarr",
    "gh-build agau --set size=[1,1,1] --anneal emt --relax emt --every 2 --dry-run -o y.zarr",
    "gh-label x.structures.zarr --preset wse2 --set kpts=[1,1,1] --shard 1/2 -j 1 --dry-run -o y.zarr",
    "gh-fit-scaleshift x.hamiltonians.zarr --fractions 0.5,0.5,0 --seed 1 --dry-run -o y.zarr",
    "gh-train x.scaleshift.zarr --hamiltonians x.hamiltonians.zarr --budget 1m --ensemble 2 --seed 1 --plot y.png"
    " --dry-run -o y.zarr",
    "gh-infer x.structures.zarr -m x.model.zarr --memory 2G --shard 1/2 -j 1 --dry-run -o y.zarr",
    "gh-overlap x.structures.zarr --basis x.model.zarr --dry-run -o y.zarr",
    "gh-dos x.hamiltonians.zarr --kpts 1 1 1 --width 0.1 --points 9 --window -5 5 --fermi electrons --smearing 0.1"
    " --carriers H --carrier-window -1 1 --solver dense --memory 2G --plot y.png --reference x.spectra.zarr"
    " --dry-run -o y.zarr",
    "gh-bands x.hamiltonians.zarr --structure 0 --path GX --points 3 --window -5 5 --reference x.hamiltonians.zarr"
    " --kpts 1 1 1 --dry-run -o y.json",
    "gh-bayes 'fermi_level ~ strain' x.spectra.zarr --chains 2 --draws 100 --tune 100 --seed 1"
    " --prior 'strain=normal(0,1)' --hdi 0.9 --plot y.png --plot-data y2.png -j 1 --dry-run -o y.zarr",
    "gh-eval x.hamiltonians.zarr x.hamiltonians.zarr --plot y.png",
    "gh-info x.model.zarr --plot y.png",
    "gh-export x.hamiltonians.zarr --to npz --kpoint 0,0,0 --dry-run -o y.json",
    "gh-import deeph x.structures.zarr --valence H=1 -j 1 --dry-run -o y.zarr",
)


def write_texts(folder: Path) -> None:
    """Write sound files of structures and of other programs, and a split; configurations come from the commands themselves."""
    from ase import Atoms
    from ase.io import write

    atoms = Atoms(
        "SiO2",
        [[0.1, 0.2, 0.3], [1.7, 0.1, 0.2], [0.3, 1.8, 0.4]],
        cell=[[4.0, 0, 0], [0.5, 4.2, 0], [0, 0.3, 4.5]],
        pbc=True,
    )
    for name, kind in FORMATS.items():
        options = {"masses": True} if kind == "lammps-data" else {}
        if kind == "espresso-in":
            options = {"pseudopotentials": {"Si": "Si.upf", "O": "O.upf"}}
        images = [atoms, atoms] if kind in ("extxyz", "traj", "xyz", "json") else atoms
        write(folder / name, images, format=kind, **options)
    from gh_tools.formats import table
    from tests.formats.sample import SHELLS, sample

    (folder / "programs").mkdir()
    for name in PROGRAMS:
        # Few functions where files hold all elements of many lattice vectors
        degrees = {6: (0, 1), 42: (0,)} if name == "wannier90" else SHELLS
        table.get_format(name).write(folder / "programs" / name, sample(degrees=degrees))
    (folder / "split.json").write_text(json.dumps({"train": [0], "validation": [1], "test": []}))


def configurations(folder: Path) -> dict[str, list[str]]:
    """Return whole configurations, as they are printed, of each command line that reads one."""
    from tests.faults.cases import call

    found = {}
    for line in CONFIGURED:
        starts = [line.partition(" -c ")[0]]
        if starts == ["gh-build"]:
            kinds = ("wse2 --set size=[1,1]", "tmd", "agau --set size=[1,1,1]")
            starts = [f"gh-build {kind}" for kind in (*kinds, f"{folder}/a.xyz --set rattle=0.1")]
        found[line] = []
        for start in starts:
            code, printed, error = call(f"{start} --print-config")
            assert code == 0, error
            found[line].append(printed)
    return found


@functools.lru_cache(maxsize=64)
def _words(content: bytes) -> list[tuple[int, int]]:
    """Return where words begin and end: of the same few files, of which some are long, again and again."""
    return [word.span() for word in re.finditer(rb"[^\s=,\[\]{}:\"']+", content)]


def mutate_text(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return changed content and what was done; every other time one number or word stands for another."""
    lines = content.splitlines(keepends=True)
    line = int(rng.integers(max(1, len(lines))))
    junk = JUNK[rng.integers(len(JUNK))].encode("utf-8", "surrogatepass")
    place = int(rng.integers(len(content) + 1))
    match rng.choice(["word", "word", "word", "flip", "cut", "line", "twice", "insert", "bytes"]):
        case "word":
            words = _words(content)
            if not words:
                return junk, f"{junk[:20]!r} alone"
            start, end = words[rng.integers(len(words))]
            what = f"{content[start:end][:20]!r} at {start} became {junk[:20]!r}"
            return content[:start] + junk + content[end:], what
        case "flip" if content:
            place, bit = place % len(content), int(rng.integers(8))
            flipped = bytes([content[place] ^ 1 << bit])
            return content[:place] + flipped + content[place + 1 :], f"bit {bit} of byte {place}"
        case "line" if lines:
            return b"".join(lines[:line] + lines[line + 1 :]), f"line {line} deleted"
        case "twice" if lines:
            return b"".join(lines[: line + 1] + lines[line:]), f"line {line} twice"
        case "insert":
            return content[:place] + junk + content[place:], f"{junk[:20]!r} at {place}"
        case "bytes":
            return content[:place] + rng.bytes(30) + content[place:], f"30 bytes at {place}"
        case _:
            return content[:place], f"cut to {place} bytes"


def draw_line(
    texts: Path, known: dict[str, list[str]], rng: np.random.Generator, every: bool
) -> tuple[str, str]:
    """Return a command line, what it reads being in this folder, and what is wrong with it.

    Args:
        texts: where `write_texts` wrote.
        known: what `configurations` found.
        rng: of the draw.
        every: take what takes seconds, too.
    """
    _furnish(texts)
    kinds = [*["configuration", "structures", "options"] * 3, *["formula", "program"] * 2, "split"]
    match rng.choice(kinds):
        case "configuration":
            line = CONFIGURED[rng.integers(len(CONFIGURED))]
            content, what = mutate_text(known[line][rng.integers(len(known[line]))].encode(), rng)
            Path("c.toml").write_bytes(content)
            if every:
                line = line.replace("--print-config", "--dry-run")
            return line.format("c.toml"), f"configuration: {what}"
        case "structures":
            name = list(FORMATS)[rng.integers(len(FORMATS))]
            content, what = mutate_text((texts / name).read_bytes(), rng)
            Path(name).write_bytes(content)
            return f"gh-build ./{name} -o y.zarr", f"{name}: {what}"
        case "program":
            name = PROGRAMS[rng.integers(len(PROGRAMS))]
            shutil.copytree(texts / "programs" / name, "program")
            files = sorted(file for file in Path("program").rglob("*") if file.is_file())
            file = files[rng.integers(len(files))]
            content, what = mutate_text(file.read_bytes(), rng)
            file.write_bytes(content)
            return "gh-import program -o y.zarr", f"{name}, {file.name}: {what}"
        case "split":
            content, what = mutate_text((texts / "split.json").read_bytes(), rng)
            Path("split.json").write_bytes(content)
            line = "gh-fit-scaleshift x.hamiltonians.zarr --split split.json --dry-run -o y.zarr"
            return line, f"split: {what}"
        case "formula":
            formula, what = mutate_text(b"fermi_level ~ strain + np.log(strain) + C(strain)", rng)
            words = ["gh-bayes", formula.decode(errors="surrogateescape").replace("\0", "0")]
            words += ["x.spectra.zarr", "--dry-run", "-o", "y.zarr"]
            return shlex.join(words), f"formula: {what}"
        case _:
            return _options(rng, every)


def _furnish(texts: Path) -> None:
    """Put into this folder what options name, and what no output may be."""
    os.mkfifo("fifo")
    Path("plain.txt").write_text("precious")
    Path("folder/precious").mkdir(parents=True)
    Path("link").symlink_to("plain.txt")
    shutil.copy(texts / "a.xyz", "a.xyz")


def _options(rng: np.random.Generator, every: bool) -> tuple[str, str]:
    """Change one or two words of a command line; outputs may be where nothing can be written."""
    line = OPTIONS[rng.integers(len(OPTIONS))]
    if not every:
        line = line.replace(
            "[1,1,1] --shard 1/2 -j 1 --dry-run", "[1,1,1] --shard 1/2 --print-config"
        )
    words = shlex.split(line)
    changed = []
    for _ in range(rng.integers(1, 3)):
        place = int(rng.integers(1, len(words)))
        if words[place - 1] in ("-o", "--plot", "--plot-data"):
            word = OTHER_OUTPUTS[rng.integers(len(OTHER_OUTPUTS))]
            if rng.random() < 0.3:
                words.append("--overwrite")
        elif "=" in words[place] and rng.random() < 0.7:
            word = words[place].partition("=")[0] + "=" + JUNK[rng.integers(len(JUNK))]
        else:
            word = JUNK[rng.integers(len(JUNK))]
        changed.append(f"{words[place]} became {word[:20]!r}")
        words[place] = word.replace("\0", "0").replace("\ud800", "\udc80")
    return shlex.join(words), f"options: {'; '.join(changed)}"
