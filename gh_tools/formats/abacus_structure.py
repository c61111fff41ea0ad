"""ABACUS: structure, shells and electrons, from STRU, the log, and the files of orbitals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.formats.files import number_of
from gh_tools.formats.outgoing import shells_text

_LETTERS = "spdfghi"
# Å. Coordinates in logs and headers have so few digits; structures farther apart are others, such as before and
# after a relaxation.
_SAME = 2e-3
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
    atoms, labels = _structure(stru, settings, header, log)
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


def _structure(
    stru: Mapping[str, list[str]], settings: Mapping[str, str], header: Sequence[str], log: str
) -> tuple[ase.Atoms, dict[str, str]]:
    """Return the structure of the matrices, and the element of each label, in the order of types."""
    candidates = [
        found
        for found in (
            _of_header(header, stru),
            _of_log(log, stru),
        )
        if found is not None
    ]
    given = _of_stru(stru, settings, log)
    if given is None and not candidates:
        raise DataError(
            "expected the structure in STRU, in the log, or in the header of the matrices, found it nowhere; put STRU "
            "(with LATTICE_VECTORS) beside or above the folder of the matrices"
        )
    if given is not None and all(_same(given[0], other[0]) for other in candidates[:1]):
        return given  # it has all digits
    return candidates[0]


def _same(a: ase.Atoms, b: ase.Atoms) -> bool:
    if len(a) != len(b) or (a.numbers != b.numbers).any():
        return False
    if np.abs(a.cell.array - b.cell.array).max() > _SAME:
        return False
    apart = (a.positions - b.positions) @ np.linalg.inv(a.cell.array)
    # R is counted from what ABACUS has, which may stand in another cell than what it was given.
    return bool(np.abs(apart @ a.cell.array).max() < _SAME)


def _labels(stru: Mapping[str, list[str]]) -> dict[str, str]:
    return {
        row.split()[0]: _element(row.split()[0]) for row in stru.get("ATOMIC_SPECIES", []) if row
    }


def _element(label: str) -> str:
    """Element of a label such as Fe1."""
    match = re.match(r"[A-Z][a-z]?", label)
    symbol = match[0] if match else ""
    for name in (symbol, symbol[:1]):
        if name in chemical_symbols[1:]:
            return name
    raise DataError(f"STRU: expected labels that begin with an element, found {label!r}")


def _of_stru(
    stru: Mapping[str, list[str]], settings: Mapping[str, str], log: str
) -> tuple[ase.Atoms, dict[str, str]] | None:
    if "ATOMIC_POSITIONS" not in stru or "LATTICE_CONSTANT" not in stru:
        return None
    constant = float(stru["LATTICE_CONSTANT"][0].split()[0]) * Bohr
    vectors = _vectors(stru, settings, log)
    if vectors is None:
        return None
    cell = vectors * constant
    mode, *rows = stru["ATOMIC_POSITIONS"]
    return _place_atoms(mode.split()[0], _positions(rows), cell, constant), _labels(stru)


def _vectors(
    stru: Mapping[str, list[str]], settings: Mapping[str, str], log: str
) -> Float[np.ndarray, "3 3"] | None:
    """Cell vectors in units of the lattice constant."""
    if "LATTICE_VECTORS" in stru:
        return np.array([row.split()[:3] for row in stru["LATTICE_VECTORS"][:3]], dtype=float)
    name = settings.get("latname", "none")
    parameters = " ".join(stru.get("LATTICE_PARAMETERS", [])).split()
    if name == "sc":
        return np.eye(3)
    if name == "fcc":
        return 0.5 * np.array([[-1, 0, 1], [0, 1, 1], [-1, 1, 0.0]])
    if name == "bcc":
        return 0.5 * np.array([[1, 1, 1], [-1, 1, 1], [-1, -1, 1.0]])
    if name == "hexagonal" and parameters:
        return np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, float(parameters[0])]])
    return _logged_vectors(log)


def _logged_vectors(log: str) -> Float[np.ndarray, "3 3"] | None:
    found = re.findall(r"Lattice vectors:[^\n]*\n((?:\s*[+-]?[\d.eE+-]+){9})", log)
    return np.array(found[-1].split(), dtype=float).reshape(3, 3) if found else None


def _positions(rows: Sequence[str]) -> Iterator[tuple[str, list[float]]]:
    """Yield label and coordinates of each atom of the section ATOMIC_POSITIONS."""
    place = 0
    while place < len(rows):
        label, count = rows[place].split()[0], int(rows[place + 2].split()[0])
        for row in rows[place + 3 : place + 3 + count]:
            yield label, [float(x) for x in row.split()[:3]]
        place += 3 + count


def _place_atoms(
    mode: str, found: Iterator[tuple[str, list[float]]], cell: np.ndarray, constant: float
) -> ase.Atoms:
    labels, coordinates = zip(*found, strict=True)
    numbers = [number_of(_element(label)) for label in labels]
    positions = np.array(coordinates)
    if mode.lower() == "direct":
        positions = positions @ cell
    elif mode.lower() == "cartesian":
        positions = positions * constant
    elif mode.lower() == "cartesian_au":
        positions = positions * Bohr
    elif mode.lower() != "cartesian_angstrom":
        raise DataError(
            f"STRU: expected positions as Direct, Cartesian, Cartesian_au or Cartesian_angstrom, found {mode}"
        )
    return ase.Atoms(numbers, positions, cell=cell, pbc=True)


def _of_header(
    header: Sequence[str], stru: Mapping[str, list[str]]
) -> tuple[ase.Atoms, dict[str, str]] | None:
    """Read the cell block of a newer CSR file: lattice, its constant in Å, vectors, symbols, counts, coordinates."""
    lines = [line.strip() for line in header if line.strip() and "#" not in line]
    lines = [line for line in lines if not line.startswith(("---", "STEP", "Matrix"))]
    if len(lines) < 8:
        return None
    constant = float(lines[1].split()[0])
    cell = constant * np.array([row.split() for row in lines[2:5]], dtype=float)
    labels, counts, mode = lines[5].split(), list(map(int, lines[6].split())), lines[7]
    symbols = [label for label, count in zip(labels, counts, strict=True) for _ in range(count)]
    rows = [[float(x) for x in row.split()[:3]] for row in lines[8 : 8 + len(symbols)]]
    found = iter(list(zip(symbols, rows, strict=True)))
    return _place_atoms(mode, found, cell, constant), {label: _element(label) for label in labels}


def _of_log(log: str, stru: Mapping[str, list[str]]) -> tuple[ase.Atoms, dict[str, str]] | None:
    """Read the last structure of a log; the last ionic step is what matrices belong to."""
    vectors = _logged_vectors(log)
    constant = re.search(r"lattice constant \(Bohr\)\s*=\s*([\d.]+)", log)
    heads = [m for m in re.finditer(r"(DIRECT|CARTESIAN) COORDINATES", log)]
    if vectors is None or constant is None or not heads:
        return None
    a = float(constant[1]) * Bohr
    rows = []
    for line in log[heads[-1].end() :].splitlines()[1:]:
        match = re.match(r"\s*(?:tau[cd]_)?([A-Za-z]+\w*?)(?:\d+)?((?:\s+-?\d+\.\d+){3})", line)
        if match:
            rows.append((match[1], [float(x) for x in match[2].split()]))
        elif rows:
            break
    if not rows:
        return None
    mode = "Direct" if heads[-1][1] == "DIRECT" else "Cartesian"
    labels = _labels(stru) or {label: _element(label) for label, _ in rows}
    try:
        return _place_atoms(mode, iter(rows), vectors * a, a), labels
    except DataError:
        return None


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
