"""FHI-aims: matrices in real space, as ``output_rs_matrices`` writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.formats.files import check_length, existing, number_of, open_hdf5
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals
from gh_tools.orbitals.order import CONVENTIONS
from gh_tools.units import HARTREE

_INDICES, _BASIS = "rs_indices.out", "basis-indices.out"
_DUMMY = 10**6  # cells beyond are no cells


def _find(path: Path) -> Sequence[Source]:
    return [Source(path)] if all((path / n).is_file() for n in (_INDICES, _BASIS)) else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    atoms = _structure(existing(folder, "geometry.in"))
    orbitals = _orbitals(folder / _BASIS, atoms)
    row, column, cell, keep = _indices(folder / _INDICES, len(orbitals))

    def matrix(*names: str, scale: float = 1.0) -> Entries:
        files = [f"{name}.{ending}" for name in names for ending in ("out", "h5")]
        value = _values(existing(folder, *files))
        if len(value) < len(keep):
            raise DataError(f"{names[0]}: expected {len(keep)} numbers, found {len(value)}")
        return Entries(row, column, cell, value[: len(keep)][keep] * scale)

    polarised = any((folder / f"rs_hamiltonian_up.{ending}").is_file() for ending in ("out", "h5"))
    if polarised:
        spins = [
            matrix("rs_hamiltonian_up", scale=HARTREE),
            matrix("rs_hamiltonian_dn", "rs_hamiltonian_down", scale=HARTREE),
        ]
    else:
        spins = [matrix("rs_hamiltonian", scale=HARTREE)]
    scalars = _scalars(folder)
    valence = {z: float(z) for z in np.unique(atoms.numbers).tolist()}
    return CodeMatrices(
        "FHI-aims",
        atoms,
        orbitals,
        spins,
        matrix("rs_overlap"),
        half=True,
        scalars=scalars,
        valence=valence,  # all-electron
        periodic=not atoms.pbc.any(),
    )


def _structure(file: Path) -> ase.Atoms:
    """Read elements, positions and lattice vectors; other keywords describe no structure."""
    rows = [line.split("#")[0].split() for line in file.read_text().splitlines()]
    vectors = [row[1:4] for row in rows if row[:1] == ["lattice_vector"]]
    if any(row[:1] == ["empty"] for row in rows):
        raise DataError(f"{file.name}: has empty sites, whose functions belong to no element")
    atoms = [row for row in rows if row[:1] in (["atom"], ["atom_frac"])]
    if len(vectors) not in (0, 3) or not atoms or any(len(row) < 5 for row in atoms):
        raise DataError(
            f"{file.name}: expected atoms, and three lattice vectors or none, found {len(atoms)} and {len(vectors)}"
        )
    cell = np.array(vectors, dtype=float).reshape(-1, 3)
    positions = np.array([row[1:4] for row in atoms], dtype=float)
    fractional = np.array([row[0] == "atom_frac" for row in atoms])
    if fractional.any():
        if not len(cell):
            raise DataError(f"{file.name}: has atom_frac, and no lattice vectors")
        positions[fractional] = positions[fractional] @ cell
    numbers = [number_of(row[4]) for row in atoms]
    if not len(cell):
        return ase.Atoms(numbers, positions)
    return ase.Atoms(numbers, positions, cell=cell, pbc=True)


def _orbitals(file: Path, atoms: ase.Atoms) -> Orbitals:
    """Read which function is which: number, type, atom, n, l, m; shells of equal n and l may be interleaved."""
    rows = [line.split() for line in file.read_text().splitlines()]
    rows = [row for row in rows if len(row) >= 6 and row[0].isdigit()]
    if not rows or [int(row[0]) for row in rows] != list(range(1, len(rows) + 1)):
        raise DataError(f"{file.name}: expected functions counted from 1, found others")
    sign_of = CONVENTIONS["fhi-aims"][1]
    atom = np.array([int(row[2]) - 1 for row in rows])
    if atom.min() < 0 or atom.max() >= len(atoms):
        raise DataError(f"{file.name}: expected atoms from 1 to {len(atoms)}, found others")
    degrees: dict[int, tuple[int, ...]] = {}
    place = np.zeros(len(rows), dtype=int)
    sign = np.ones(len(rows), dtype=int)
    for index in range(len(atoms)):
        mine = np.flatnonzero(atom == index)
        keys: list[tuple] = []  # shells in the order of their first function
        seen: dict[tuple, int] = {}
        shell_of = []
        for function in mine:
            kind, n, degree, m = rows[function][1], *map(int, rows[function][3:6])
            # The same kind, n, l and m again is the next shell of this name.
            count = seen.get((kind, n, degree, m), 0)
            seen[kind, n, degree, m] = count + 1
            key = (kind, n, degree, count)
            if key not in keys:
                keys.append(key)
            shell_of.append((key, m))
        shells = tuple(key[2] for key in keys)
        starts = np.concatenate([[0], np.cumsum([2 * degree + 1 for degree in shells])])
        for function, (key, m) in zip(mine, shell_of, strict=True):
            shell = keys.index(key)
            if abs(m) > shells[shell]:
                raise DataError(
                    f"{file.name}: function {function + 1} has m = {m} of l = {shells[shell]}"
                )
            place[function] = starts[shell] + shells[shell] + m
            sign[function] = sign_of(m)
        z = int(atoms.numbers[index])
        if len(mine) != starts[-1] or len(set(place[mine])) != len(mine):
            raise DataError(f"{file.name}: the functions of atom {index + 1} make no whole shells")
        if degrees.setdefault(z, shells) != shells:
            raise DataError(
                f"{file.name}: expected the same shells for each atom of {chemical_symbols[z]}, found others"
            )
    return Orbitals(degrees, atom, place, sign)


def _indices(file: Path, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and R of each number that counts, and which numbers of a matrix these are."""
    text = file.read_text()
    head = dict(re.findall(r"(n_\w+)\s*:\s*(\d+)", text))
    try:
        size, cells, basis = (
            int(head[name])
            for name in ("n_hamiltonian_matrix_size", "n_cells_in_hamiltonian", "n_basis")
        )
    except KeyError as error:
        raise DataError(f"{file.name}: expected {error.args[0]}, found none") from None
    if basis != n:
        raise DataError(f"{file.name}: expected {n} functions as in {_BASIS}, found {basis}")
    parts = re.split(r"(?m)^\s*(?:cell_index|(?:column_)?index_hamiltonian.*?)\s*$", text)
    if len(parts) != 5:
        raise DataError(f"{file.name}: expected cells, first and last indices, and columns")
    cell = np.array(parts[1].split(), dtype=np.int64)
    first, last = (np.array(part.split(), dtype=np.int64) for part in parts[2:4])
    column = np.array(parts[4].split(), dtype=np.int64)
    check_length(f"{file.name}: cell_index", cell, 3 * cells)
    check_length(f"{file.name}: index_hamiltonian", first, cells * basis)
    check_length(f"{file.name}: index_hamiltonian", last, cells * basis)
    check_length(f"{file.name}: column_index_hamiltonian", column, size)
    cell = cell.reshape(-1, 3)
    real = np.abs(cell).max(axis=1) < _DUMMY
    first, last = first.reshape(cells, basis), last.reshape(cells, basis)
    counts = np.where(real[:, None] & (first > 0), last - first + 1, 0)
    if (counts < 0).any() or counts.max(initial=0) > basis:
        raise DataError(f"{file.name}: first and last indices contradict each other")
    flat = counts.ravel()
    starts = np.repeat(first.ravel() - 1, flat)
    place = starts + np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
    if place.size and (place.max() >= size or place.min() < 0):
        raise DataError(f"{file.name}: indices beyond the {size} numbers of the matrix")
    where = np.repeat(np.arange(cells * basis), flat)
    keep = np.zeros(size, dtype=bool)
    keep[place] = True
    order = np.argsort(place)
    where, place = where[order], place[order]
    if len(np.unique(place)) != len(place):
        raise DataError(f"{file.name}: an element stands twice")
    # A number is ⟨row, R| H |column, 0⟩ = ⟨row, 0| H |column, -R⟩.
    return where % basis, column[place] - 1, -cell[where // basis], keep


def _values(file: Path) -> Float[np.ndarray, " numbers"]:
    if file.suffix == ".h5":
        with open_hdf5(file) as stored:
            return np.asarray(stored["sparse_matrix"][...], dtype=np.float64).ravel()
    return np.array(file.read_text().split(), dtype=float)


def _scalars(folder: Path) -> dict[str, float]:
    """Read Fermi level and electrons from the output, if it is there."""
    for name in ("aims.out", *(file.name for file in sorted(folder.glob("*.out")))):
        file = folder / name
        if not file.is_file() or name.startswith(("rs_", "basis-")):
            continue
        text = file.read_text(errors="replace")
        scalars = {}
        fermi = re.findall(
            r"Chemical potential \(Fermi level\)(?: in eV)?\s*:\s*([-+.\dEe]+)", text
        )
        if fermi:
            scalars["fermi_level"] = float(fermi[-1])
        electrons = re.findall(
            r"The structure contains\s+\d+ atoms, .*?and a total of\s+([\d.]+) electrons", text
        )
        if electrons:
            scalars["n_electrons"] = float(electrons[-1])
        if scalars:
            return scalars
    return {}


FORMAT = Format("fhi-aims", "FHI-aims", _find, _read)
