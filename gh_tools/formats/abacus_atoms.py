"""ABACUS: the structure that matrices belong to, from STRU, the log, or their header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.formats.files import number_of

# Å. Coordinates in logs and headers have so few digits; structures farther apart are others, such as before and
# after a relaxation.
_SAME = 2e-3


def read_abacus_structure(
    stru: Mapping[str, list[str]], settings: Mapping[str, str], header: Sequence[str], log: str
) -> tuple[ase.Atoms, dict[str, str]]:
    """Return the structure of the matrices, and the element of each label, in the order of types.

    Args:
        stru: lines of each section of STRU.
        settings: of INPUT.
        header: of a CSR file.
        log: of the run.

    Raises:
        DataError: none of them tells the structure.
    """
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
