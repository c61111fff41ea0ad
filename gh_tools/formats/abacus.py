"""ABACUS: CSR files of H(R) and S(R), the layouts up to 3.10 and from 2026 on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.formats.abacus_structure import Setting, read_setting, write_structure
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals, entries_of_cells
from gh_tools.formats.outgoing import cell_matrices, target
from gh_tools.orbitals.blocks import Bands, Hamiltonian

# eV; ABACUS's own, so that its eigenvalues in eV are met
RYDBERG = 13.605698
# Names of H of the first spin, of the second, and of S, by layout.
_LAYOUTS = (
    ("data-HR-sparse_SPIN0.csr", "data-HR-sparse_SPIN1.csr", ("data-SR-sparse_SPIN0.csr",)),
    ("hrs1_nao.csr", "hrs2_nao.csr", ("srs1_nao.csr", "sr_nao.csr")),
)
_UP, _DOWN, _OVERLAP = _LAYOUTS[0][0], _LAYOUTS[0][1], _LAYOUTS[0][2][0]


class _Csr(NamedTuple):
    """Matrices of a file.

    Attributes:
        dimension: rows of each.
        cells: R of each.
        matrices: in the units of the file.
        header: text before the matrices.
    """

    dimension: int
    cells: Int[np.ndarray, "cells 3"]
    matrices: list[scipy.sparse.csr_array]
    header: list[str]


def _find(path: Path) -> Sequence[Source]:
    found = any((path / layout[0]).is_file() for layout in _LAYOUTS)
    return [Source(path)] if found else []


def _read(source: Source) -> CodeMatrices:
    folder = source.path
    up, down, overlaps = next(layout for layout in _LAYOUTS if (folder / layout[0]).is_file())
    names = [up, *([down] if (folder / down).is_file() else [])]
    overlap = next((name for name in overlaps if (folder / name).is_file()), None)
    if overlap is None:
        raise DataError(f"expected S in the file {' or '.join(overlaps)}, found none")
    hamiltonians = [_read_csr(folder / name) for name in names]
    s = _read_csr(folder / overlap)
    setting = read_setting(folder, hamiltonians[0].header)
    orbitals = Orbitals.of_shells(setting.atoms.numbers, setting.degrees, "abacus")
    n = len(orbitals)
    spinor = hamiltonians[0].dimension == 2 * n
    for found, name in zip([*hamiltonians, s], [*names, overlap], strict=True):
        if found.dimension != (2 * n if spinor else n):
            raise DataError(
                f"{name}: expected matrices of {n} orbitals, as the shells of the atoms say, found {found.dimension}"
            )
    if spinor:
        h = _quarters(hamiltonians[0], RYDBERG)
        s_entries = _quarters(s, 1.0)[0]
        s_entries = Entries(
            s_entries.row, s_entries.column, s_entries.cell, np.real(s_entries.value)
        )
    else:
        h = [entries_of_cells(found.cells, found.matrices, RYDBERG) for found in hamiltonians]
        s_entries = entries_of_cells(s.cells, s.matrices)
    return CodeMatrices(
        "ABACUS",
        setting.atoms,
        orbitals,
        h,
        s_entries,
        scalars=setting.scalars,
        valence=setting.valence,
        cutoffs=setting.cutoffs,
        radial=setting.radial,
        bands=_bands(folder, 1 if spinor else len(h)),
    )


def _read_csr(file: Path) -> _Csr:
    lines = file.read_text().splitlines()
    start, dimension, count = _header(file, lines)
    words = [
        word for line in lines[start:] if not line.lstrip().startswith("#") for word in line.split()
    ]
    if sum(line.strip().startswith(("STEP:", "--- Ionic Step")) for line in lines) > 1:
        raise DataError(
            f"{file.name}: holds several ionic steps, whose structures it does not tell; write each step into a "
            "file of its own (out_app_flag 0)"
        )
    cells: list[list[int]] = []
    matrices: list = []
    place = 0

    def take(number: int) -> list[str]:
        nonlocal place
        taken = words[place : place + number]
        if len(taken) < number:
            raise DataError(f"{file.name}: ends in the middle of matrix {len(cells)} of {count}")
        place += number
        return taken

    def integers(number: int) -> Int[np.ndarray, " n"]:
        return np.array(take(number), dtype=np.int64)

    for _ in range(count):
        *cell, size = integers(4).tolist()
        cells.append(cell)
        if size == 0:
            # Some versions write the row pointers of an empty matrix all the same.
            if words[place : place + dimension + 1] == ["0"] * (dimension + 1) and dimension > 3:
                place += dimension + 1
            matrices.append(scipy.sparse.csr_array((dimension, dimension)))
            continue
        value = _numbers(take(size))
        column, pointer = integers(size), integers(dimension + 1)
        if (
            pointer[0] != 0
            or pointer[-1] != size
            or (np.diff(pointer) < 0).any()
            or column.min() < 0
            or column.max() >= dimension
        ):
            raise DataError(
                f"{file.name}: columns and row pointers of R = {cell} contradict each other"
            )
        matrices.append(scipy.sparse.csr_array((value, column, pointer), (dimension, dimension)))
    if place < len(words):
        raise DataError(f"{file.name}: {len(words) - place} words follow the last matrix")
    return _Csr(dimension, np.array(cells).reshape(-1, 3), matrices, lines[:start])


def _header(file: Path, lines: list[str]) -> tuple[int, int, int]:
    """Return where matrices begin, how many rows they have, and how many there are."""
    found: dict[str, int] = {}
    for index, line in enumerate(lines):
        if match := re.match(r"\s*Matrix (Dimension|number) of [HS]\(R\): *(\d+)", line):
            found[match[1].lower()] = int(match[2])
        elif match := re.match(r"\s*(\d+)\s*# number of (localized basis|Bravais)", line):
            found["dimension" if match[2].startswith("loc") else "number"] = int(match[1])
        banner = re.match(r"\s*#-{20,}#\s*$", line) and index > 0
        old = line.lstrip().startswith("Matrix number")
        if len(found) == 2 and (old or (banner and lines[index - 1].lstrip().startswith("#"))):
            return index + 1, found["dimension"], found["number"]
    raise DataError(f"{file.name}: expected the header of a CSR file of ABACUS, found none")


def _numbers(words: list[str]) -> np.ndarray:
    if words[0].startswith("("):
        text = " ".join(words).replace("(", " ").replace(")", " ").replace(",", " ")
        parts = np.array(text.split(), dtype=float).reshape(-1, 2)
        return parts[:, 0] + 1j * parts[:, 1]
    return np.array(words, dtype=float)


def _quarters(found: _Csr, scale: float) -> list[Entries]:
    """Divide matrices of spinors, whose spin changes fastest, into ↑↑, ↑↓, ↓↑, ↓↓."""
    whole = entries_of_cells(found.cells, found.matrices, scale)
    quarters = []
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        mine = (whole.row % 2 == a) & (whole.column % 2 == b)
        quarters.append(
            Entries(
                whole.row[mine] // 2,
                whole.column[mine] // 2,
                whole.cell[mine],
                whole.value[mine],
            )
        )
    return quarters


def _bands(folder: Path, n_spins: int) -> Bands | None:
    """Read the eigenvalues that ABACUS printed, if they are there."""
    file = folder / "istate.info"
    if not file.is_file():
        return None
    kpoints, bands = [], []
    for block in re.split(r"(?m)^\s*BAND", file.read_text())[1:]:
        head, *rows = block.strip().splitlines()
        match = re.search(r"Kpoint = *\d+ *\(([^)]*)\)", head)
        table = [row.split() for row in rows if row.strip()]
        if match is None or any(len(row) < 2 * n_spins + 1 for row in table):
            return None
        kpoints.append([float(x) for x in match[1].split()])
        bands.append([[float(row[1 + 2 * spin]) for row in table] for spin in range(n_spins)])
    if not bands or len({len(band[0]) for band in bands}) > 1:
        return None
    weights = _weights(folder, len(kpoints))
    return Bands(np.array(kpoints), weights, np.array(bands).swapaxes(0, 1))


def _weights(folder: Path, count: int) -> Float[np.ndarray, " kpoints"]:
    file = folder / "kpoints"
    rows = []
    if file.is_file():
        rows = re.findall(
            r"(?m)^\s*\d+((?:\s+-?\d+\.\d+){4})\s*$", file.read_text().split("nkstot =")[0]
        )
    if len(rows) != count:
        return np.full(count, 1 / count)
    weights = np.array([float(row.split()[3]) for row in rows])
    return weights / weights.sum()


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    aim = target(hamiltonian, "abacus", by_element=True, by_degree=True)
    atoms = aim.atoms
    path.mkdir()
    shells = aim.degrees
    write_structure(
        path,
        Setting(
            atoms,
            shells,
            {
                z: hamiltonian.basis[z].n_valence
                for z in shells
                if np.isfinite(hamiltonian.basis[z].n_valence)
            },
            dict(hamiltonian.scalars),
            {},
            {},
        ),
        hamiltonian.n_spins,
    )
    n = int(aim.start[-1])
    cells, overlaps = cell_matrices(hamiltonian, aim, "overlap")
    spins = [
        cell_matrices(hamiltonian, aim, "hamiltonian", spin, cells)[1]
        for spin in range(hamiltonian.n_spins)
    ]
    for name, matrices in zip((_UP, _DOWN), spins, strict=False):
        scaled = [matrix / RYDBERG for matrix in matrices]
        _write_csr(path / name, "H", n, cells, scaled)
    _write_csr(path / _OVERLAP, "S", n, cells, overlaps)


def _write_csr(file: Path, name: str, n: int, cells, matrices) -> None:
    with file.open("w") as stream:
        stream.write("STEP: 0\n")
        stream.write(f"Matrix Dimension of {name}(R): {n}\n")
        stream.write(f"Matrix number of {name}(R): {len(cells)}\n")
        for cell, matrix in zip(cells.tolist(), matrices, strict=True):
            matrix = scipy.sparse.csr_array(matrix)
            matrix.sort_indices()
            stream.write(" ".join(map(str, [*cell, matrix.nnz])) + "\n")
            if matrix.nnz:
                stream.write(" " + " ".join(f"{value:.16e}" for value in matrix.data) + "\n")
                stream.write(" " + " ".join(map(str, matrix.indices.tolist())) + "\n")
                stream.write(" " + " ".join(map(str, matrix.indptr.tolist())) + "\n")


FORMAT = Format("abacus", "ABACUS", _find, _read, _write)
