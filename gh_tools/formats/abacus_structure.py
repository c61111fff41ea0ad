"""ABACUS: structure, shells and electrons, from STRU, the log, and the files of orbitals."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr

from gh_tools.errors import DataError
from gh_tools.formats.abacus_atoms import read_abacus_structure
from gh_tools.formats.files import number_of
from gh_tools.formats.outgoing import shells_text

_LETTERS = "spdfghi"
_SECTIONS = (
    "ATOMIC_SPECIES",
    "NUMERICAL_ORBITAL",
    "NUMERICAL_DESCRIPTOR",
    "PAW_FILES",
    "ABFS_ORBITAL",
    "LATTICE_CONSTANT",
    "LATTICE_VECTORS",
    "LATTICE_PARAMETERS",
    "ATOMIC_POSITIONS",
)


class Setting(NamedTuple):
    """What a folder of ABACUS says beside the matrices.

    Attributes:
        atoms: the structure.
        degrees: l of the shells of each element.
        valence: electrons of neutral atoms, by element.
        scalars: fermi_level (eV), n_electrons.
        cutoffs: radius in Å of each shell, by element.
        radial: text of the radial functions, by element.
    """

    atoms: ase.Atoms
    degrees: Mapping[int, tuple[int, ...]]
    valence: dict[int, float]
    scalars: dict[str, float]
    cutoffs: dict[int, tuple[float, ...]]
    radial: dict[int, str]


def read_setting(folder: Path, header: Sequence[str]) -> Setting:
    """Read what the matrices belong to.

    Args:
        folder: that holds the matrices, such as ``OUT.ABACUS``; STRU and INPUT may stand above it.
        header: of a CSR file; newer ones hold the structure.

    Raises:
        DataError: no structure, or no shells, can be found.
    """
    log = _log(folder)
    above = [folder, folder.parent, folder.parent.parent]
    settings = _settings(above)
    stru = _sections(above, settings)
    atoms, labels = read_abacus_structure(stru, settings, header, log)
    orbital_files = dict(zip(labels, stru.get("NUMERICAL_ORBITAL", []), strict=False))
    places = [
        *above,
        folder.parent / settings.get("orbital_dir", "."),
        Path(settings.get("orbital_dir", ".")),
    ]
    degrees, cutoffs, radial = {}, {}, {}
    for label, symbol in labels.items():
        z = number_of(symbol)
        name = orbital_files.get(label, "")
        file = next((place / name for place in places if name and (place / name).is_file()), None)
        if file is None and name:
            file = next(
                (p / Path(name).name for p in places if (p / Path(name).name).is_file()), None
            )
        if file is not None:
            degrees[z], cutoffs[z], radial[z] = read_orbitals(file)
            continue
        shells = _shells_of_log(log, label) or shells_of_name(name)
        if not shells:
            raise DataError(
                f"expected the shells of {symbol} in running_*.log or in the name of its orbital file in STRU, found "
                "neither"
            )
        degrees[z] = shells
    scalars = {}
    if fermi := re.findall(r"EFERMI\s*=\s*(-?[\d.]+)\s*eV", log):
        scalars["fermi_level"] = float(fermi[-1])
    elif fermi := re.findall(r"E_Fermi\s+-?[\d.eE+-]+\s+(-?[\d.eE+-]+)", log):
        scalars["fermi_level"] = float(fermi[-1])
    if electrons := re.findall(r"number of electrons:?\s*=\s*([\d.]+)", log, re.I):
        scalars["n_electrons"] = float(electrons[-1])
    valence = {}
    for label, count in re.findall(r"(?m)^\s*electron number of element (\w+)\s*=\s*([\d.]+)", log):
        if label in labels:
            valence[number_of(labels[label])] = float(count)
    return Setting(atoms, degrees, valence, scalars, cutoffs, radial)


def _log(folder: Path) -> str:
    logs = sorted(folder.glob("running_*.log")) or sorted(folder.parent.glob("running_*.log"))
    return logs[0].read_text(errors="replace") if logs else ""


def _settings(folders: Sequence[Path]) -> dict[str, str]:
    for folder in folders:
        file = folder / "INPUT"
        if file.is_file():
            rows = (line.split("#")[0].split() for line in file.read_text().splitlines())
            return {row[0]: row[1] for row in rows if len(row) > 1}
    return {}


def _sections(folders: Sequence[Path], settings: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the lines of each section of STRU, without comments; none if there is no such file."""
    name = settings.get("stru_file", "STRU")
    for folder in folders:
        for file in (folder / name, folder / "STRU"):
            if file.is_file():
                return _divide(file.read_text())
    return {}


def _divide(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        line = re.sub(r"(#|//).*", "", line).strip()
        if line in _SECTIONS:
            name = line
            found[name] = []
        elif line and name:
            found[name].append(line)
    return found


def _shells_of_log(log: str, label: str) -> tuple[int, ...]:
    block = re.search(rf"atom label\s*=\s*{re.escape(label)}\s*\n((?:\s*L=\d+.*\n)+)", log)
    counts = re.findall(r"L=(\d+), number of zeta\s*=\s*(\d+)", block[1]) if block else []
    return tuple(int(degree) for degree, count in counts for _ in range(int(count)))


def shells_of_name(name: str) -> tuple[int, ...]:
    """Return l of the shells that a name such as ``Mo_gga_9au_100Ry_4s2p2d1f.orb`` tells; none if it does not."""
    match = re.search(r"_((?:\d+[spdfghi])+)(?:\.orb)?$", Path(name).name)
    counts = re.findall(r"(\d+)([spdfghi])", match[1]) if match else []
    return tuple(_LETTERS.index(letter) for count, letter in counts for _ in range(int(count)))


def read_orbitals(file: Path) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    """Read a file of numerical orbitals.

    Returns:
        l of each shell, its radius in Å, and the text of the radial functions.

    Raises:
        DataError: it is none.
    """
    text = file.read_text()
    cutoff = re.search(r"Radius Cutoff\(a\.u\.\)\s+([\d.]+)", text)
    step = re.search(r"(?m)^\s*dr\s+([\d.eE+-]+)", text)
    blocks = re.split(r"Type\s+L\s+N\s*\n", text)
    if cutoff is None or step is None or len(blocks) < 2:
        raise DataError(f"{file.name}: expected a file of numerical orbitals of ABACUS")
    shells = []
    for block in blocks[1:]:
        words = block.split()
        shells.append((int(words[1]), int(words[2]), np.array(words[3:], dtype=float)))
    shells.sort(key=lambda shell: shell[:2])
    functions = [
        {"l": degree, "step": float(step[1]) * Bohr, "values": values.tolist()}
        for degree, _, values in shells
    ]
    degrees = tuple(degree for degree, _, _ in shells)
    return degrees, (float(cutoff[1]) * Bohr,) * len(shells), json.dumps(functions)


def write_structure(folder: Path, setting: Setting, n_spins: int) -> None:
    """Write STRU, and a log with the facts that `read_setting` looks for."""
    atoms = setting.atoms
    numbers = list(dict.fromkeys(atoms.numbers.tolist()))
    symbols = [chemical_symbols[z] for z in numbers]
    lines = ["ATOMIC_SPECIES", *(f"{s} 1.0 {s}.upf" for s in symbols), ""]
    lines += ["NUMERICAL_ORBITAL"]
    lines += [
        f"{s}_{shells_text(setting.degrees[z])}.orb" for z, s in zip(numbers, symbols, strict=True)
    ]
    lines += ["", "LATTICE_CONSTANT", repr(1 / Bohr), "", "LATTICE_VECTORS"]
    lines += [" ".join(map(repr, row)) for row in atoms.cell.complete().array.tolist()]
    lines += ["", "ATOMIC_POSITIONS", "Cartesian_angstrom"]
    for z, symbol in zip(numbers, symbols, strict=True):
        rows = atoms.positions[atoms.numbers == z].tolist()
        lines += [symbol, "0.0", str(len(rows))]
        lines += [" ".join(map(repr, row)) + " 0 0 0" for row in rows]
    (folder / "STRU").write_text("\n".join(lines) + "\n")
    log = [f"nspin = {n_spins}"]
    for z, symbol in zip(numbers, symbols, strict=True):
        if z in setting.valence:
            log.append(f" electron number of element {symbol} = {setting.valence[z]:g}")
    if np.isfinite(electrons := setting.scalars.get("n_electrons", np.nan)):
        log.append(f" number of electrons: = {electrons:.10g}")
    if np.isfinite(fermi := setting.scalars.get("fermi_level", np.nan)):
        log.append(f" EFERMI = {fermi!r} eV")
    (folder / "running_scf.log").write_text("\n".join(log) + "\n")
