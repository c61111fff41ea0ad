"""Files of wannier90 of H, whose orbitals are orthogonalised."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Inexact

from gh_tools.formats.lowdin import Orthogonal, orthogonalised
from gh_tools.orbitals.blocks import Hamiltonian


def write_wannier90(path: Path, hamiltonian: Hamiltonian) -> None:
    """Write SEED_hr.dat, SEED_tb.dat, SEED_centres.xyz and SEED.win into a new folder, of two spin channels for each.

    Raises:
        DataError: H cannot be orthogonalised.
    """
    path.mkdir()
    spins = [""] if hamiltonian.n_spins == 1 else ["_up", "_dn"]
    for spin, name in enumerate(spins):
        found = orthogonalised(hamiltonian, spin)
        seed = f"wannier90{name}"
        _write_hr(path / f"{seed}_hr.dat", found.cells, found.h)
        _write_tb(path / f"{seed}_tb.dat", found, hamiltonian)
        _write_centres(path / f"{seed}_centres.xyz", found, hamiltonian)
        _write_win(path / f"{seed}.win", hamiltonian)


_NOTE = " Loewdin-orthogonalised by gh-tools: the spectrum of H and S, other functions"


def _write_hr(file: Path, cells: np.ndarray, matrices: np.ndarray) -> None:
    n = matrices.shape[1]
    with file.open("w") as stream:
        stream.write(f"{_NOTE}\n{n:12d}\n{len(cells):12d}\n")
        _write_degeneracies(stream, len(cells))
        for cell, matrix in zip(cells.tolist(), matrices, strict=True):
            start = "".join(f"{x:5d}" for x in cell)
            _write_elements(stream, matrix[..., None], start + "%5d%5d%20.12f%20.12f\n")


def _write_tb(file: Path, found: Orthogonal, hamiltonian: Hamiltonian) -> None:
    """Write H and positions."""
    cells, n = found.cells.tolist(), found.h.shape[1]
    kind = "of the basis functions" if found.exact else "of orbitals that sit on their atoms"
    with file.open("w") as stream:
        stream.write(f"{_NOTE}; positions {kind}\n")
        for row in hamiltonian.atoms.cell.complete().array.tolist():
            stream.write(" ".join(f"{x:.12f}" for x in row) + "\n")
        stream.write(f"{n:12d}\n{len(cells):12d}\n")
        _write_degeneracies(stream, len(cells))
        for cell, matrix in zip(cells, found.h, strict=True):
            stream.write("\n" + "".join(f"{x:5d}" for x in cell) + "\n")
            _write_elements(stream, matrix[..., None], "%5d%5d%20.12e%20.12e\n")
        for index, cell in enumerate(cells):
            stream.write("\n" + "".join(f"{x:5d}" for x in cell) + "\n")
            r = np.moveaxis(found.r[:, index], 0, -1)
            _write_elements(stream, r, "%5d%5d" + 3 * "%20.12e%20.12e" + "\n")


def _write_centres(file: Path, found: Orthogonal, hamiltonian: Hamiltonian) -> None:
    """Write where the functions are, and the atoms."""
    home = int(np.flatnonzero(~found.cells.any(axis=1))[0])
    centres = np.diagonal(found.r[:, home], axis1=1, axis2=2).real.T.tolist()
    atoms = hamiltonian.atoms
    rows = [("X", row) for row in centres]
    rows += list(zip(atoms.symbols, atoms.positions.tolist(), strict=True))
    lines = [f"{s:6s}" + "".join(f"{x:16.8f}" for x in row) for s, row in rows]
    file.write_text("\n".join([f"{len(rows):6d}", _NOTE, *lines]) + "\n")


def _write_elements(stream: TextIO, matrix: Inexact[np.ndarray, "n n values"], line: str) -> None:
    """Write a line for each element, the first index varying fastest: both indices from 1, then the values.

    Args:
        stream: where to.
        matrix: the values of each element.
        line: its form, with a real and an imaginary part for each value.
    """
    n = len(matrix)
    j, i = np.indices((n, n)) + 1
    values = matrix.swapaxes(0, 1)
    parts = np.stack([values.real, values.imag], axis=-1).reshape(n, n, -1)
    rows = np.concatenate([np.stack([i, j], axis=-1), parts], axis=-1)
    # All lines at once: there are millions of them.
    stream.write(n * n * line % tuple(rows.ravel().tolist()))


def _write_degeneracies(stream, count: int) -> None:
    for start in range(0, count, 15):
        stream.write("    1" * min(15, count - start) + "\n")


def _write_win(file: Path, hamiltonian: Hamiltonian) -> None:
    """Write the structure beside, as readers of ``_hr.dat`` expect it."""
    atoms, basis = hamiltonian.atoms, hamiltonian.basis
    lines = [f"num_wann = {hamiltonian.n_orbitals}"]
    if hamiltonian.spinor:  # of each atom the functions with spin up, then those with spin down
        lines.append("spinors = .true.")
    if np.isfinite(fermi := hamiltonian.scalars.get("fermi_level", np.nan)):
        lines.append(f"fermi_energy = {fermi!r}")
    cell = [" ".join(map(repr, row)) for row in atoms.cell.complete().array.tolist()]
    lines += ["begin unit_cell_cart", "ang", *cell, "end unit_cell_cart"]
    rows = zip(atoms.symbols, atoms.positions.tolist(), strict=True)
    positions = [f"{s} " + " ".join(map(repr, row)) for s, row in rows]
    lines += ["begin atoms_cart", "ang", *positions, "end atoms_cart"]
    projections = [
        "f=" + ",".join(map(repr, row)) + ":" + ";".join(f"l={l}" for l in basis[int(z)].degrees)  # noqa: E741
        for row, z in zip(atoms.get_scaled_positions().tolist(), atoms.numbers, strict=True)
    ]
    lines += ["begin projections", *projections, "end projections"]
    file.write_text("\n".join(lines) + "\n")
