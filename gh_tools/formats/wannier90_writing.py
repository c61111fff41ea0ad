"""Files of wannier90 of H, whose orbitals are orthogonalised."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float

from gh_tools.formats.lowdin import orthogonalised
from gh_tools.orbitals.blocks import Hamiltonian


def write(path: Path, hamiltonian: Hamiltonian) -> None:
    """Write SEED_hr.dat, SEED_tb.dat and SEED.win into a new folder, of two spin channels for each.

    Raises:
        DataError: H cannot be orthogonalised.
    """
    path.mkdir()
    spins = [""] if hamiltonian.n_spins == 1 else ["_up", "_dn"]
    for spin, name in enumerate(spins):
        cells, matrices = orthogonalised(hamiltonian, spin)
        seed = f"wannier90{name}"
        _write_hr(path / f"{seed}_hr.dat", cells, matrices)
        _write_tb(path / f"{seed}_tb.dat", cells, matrices, hamiltonian)
        _write_win(path / f"{seed}.win", hamiltonian)


_NOTE = " Loewdin-orthogonalised by gh-tools: the spectrum of H and S, other functions"


def _write_hr(file: Path, cells: np.ndarray, matrices: np.ndarray) -> None:
    n = matrices.shape[1]
    with file.open("w") as stream:
        stream.write(f"{_NOTE}\n{n:12d}\n{len(cells):12d}\n")
        _write_degeneracies(stream, len(cells))
        for cell, matrix in zip(cells.tolist(), matrices, strict=True):
            start = "".join(f"{x:5d}" for x in cell)
            _write_elements(stream, matrix[..., None], start + "%5d%5d%20.12f{0:20.12f}\n")


def _write_tb(
    file: Path, cells: np.ndarray, matrices: np.ndarray, hamiltonian: Hamiltonian
) -> None:
    """Write H and positions; of these the functions' centres alone are known, which are taken to be the atoms."""
    n = matrices.shape[1]
    atoms = hamiltonian.atoms
    centre = np.repeat(atoms.positions, hamiltonian.basis.n_orbitals(atoms.numbers), axis=0)
    with file.open("w") as stream:
        stream.write(f"{_NOTE}; positions are those of the atoms\n")
        for row in atoms.cell.complete().array.tolist():
            stream.write(" ".join(f"{x:.12f}" for x in row) + "\n")
        stream.write(f"{n:12d}\n{len(cells):12d}\n")
        _write_degeneracies(stream, len(cells))
        for cell, matrix in zip(cells.tolist(), matrices, strict=True):
            stream.write("\n" + "".join(f"{x:5d}" for x in cell) + "\n")
            _write_elements(stream, matrix[..., None], "%5d%5d%20.12e{0:20.12e}\n")
        for cell in cells.tolist():
            home = not any(cell)
            stream.write("\n" + "".join(f"{x:5d}" for x in cell) + "\n")
            r = np.zeros((n, n, 3))
            if home:
                r[range(n), range(n)] = centre
            _write_elements(stream, r, "%5d%5d" + 3 * "%20.12e{0:20.12e}" + "\n")


def _write_elements(stream: TextIO, matrix: Float[np.ndarray, "n n values"], line: str) -> None:
    """Write a line for each element, the first index varying fastest: both indices from 1, then the values.

    Args:
        stream: where to.
        matrix: the values of each element.
        line: its form, in which {0} stands for an imaginary part.
    """
    n = len(matrix)
    j, i = np.indices((n, n)) + 1
    rows = np.concatenate([np.stack([i, j], axis=-1), matrix.swapaxes(0, 1)], axis=-1)
    # All lines at once: there are millions of them.
    stream.write(n * n * line.format(0.0) % tuple(rows.ravel().tolist()))


def _write_degeneracies(stream, count: int) -> None:
    for start in range(0, count, 15):
        stream.write("    1" * min(15, count - start) + "\n")


def _write_win(file: Path, hamiltonian: Hamiltonian) -> None:
    """Write the structure beside, as readers of ``_hr.dat`` expect it."""
    atoms, basis = hamiltonian.atoms, hamiltonian.basis
    lines = [f"num_wann = {hamiltonian.n_orbitals}"]
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
