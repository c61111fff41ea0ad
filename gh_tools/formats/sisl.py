"""SIESTA's nc file, as sisl writes it: for TBtrans, so that NEGF runs on predictions."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.outgoing import cell_matrices, target
from gh_tools.orbitals.blocks import Hamiltonian

# Attribute of each element's group
_SHELLS = "gh_tools_shells"


def _find(path: Path) -> Sequence[Source]:
    return []  # the format siesta reads them


def _write(path: Path, hamiltonian: Hamiltonian) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        h = to_sisl(hamiltonian)
        fermi = hamiltonian.scalars.get("fermi_level", np.nan)
        electrons = hamiltonian.scalars.get("n_electrons", np.nan)
        # sisl takes the kind of a file from its ending.
        named = path.with_name(path.name + ".nc")
        extra("netCDF4")
        with extra("sisl").get_sile(str(named), mode="w") as sile:
            sile.write_hamiltonian(
                h,
                Ef=fermi if np.isfinite(fermi) else 0.0,
                Qtot=electrons if np.isfinite(electrons) else 0.0,
            )
        _add_shells(named, hamiltonian)
        named.rename(path)


def _add_shells(file: Path, hamiltonian: Hamiltonian) -> None:
    """Note l of each element's shells, which sisl does not write, so that the file can be imported again."""
    with extra("netCDF4").Dataset(str(file), "a") as stored:
        for group in stored["BASIS"].groups.values():
            degrees = hamiltonian.basis[int(group.Atomic_number)].degrees
            group.setncattr(_SHELLS, np.array(degrees, dtype=np.int32))


def stored_shells(file: Path) -> dict[int, tuple[int, ...]] | None:
    """Return l of the shells of each element that gh-export noted in a file; None if it is of others."""
    with extra("netCDF4").Dataset(str(file)) as stored:
        groups = stored["BASIS"].groups.values() if "BASIS" in stored.groups else []
        if not groups or not all(_SHELLS in group.ncattrs() for group in groups):
            return None
        return {
            int(group.Atomic_number): tuple(np.atleast_1d(group.getncattr(_SHELLS)).tolist())
            for group in groups
        }


def to_sisl(hamiltonian: Hamiltonian) -> Any:
    """Return sisl's Hamiltonian, in SIESTA's order and signs, energies absolute.

    Raises:
        DataError: there is no H or no S.
        MissingExtraError: sisl is not installed.
    """
    sisl = extra("sisl")
    aim = target(hamiltonian, "siesta")
    atoms = aim.atoms
    geometry = geometry_of_shells(
        atoms.numbers,
        aim.degrees,
        atoms.positions,
        atoms.cell.complete().array,
        {z: [shell.cutoff for shell in hamiltonian.basis[z].shells] for z in aim.degrees},
    )
    cells, overlaps = cell_matrices(hamiltonian, aim, "overlap")
    spins = [
        cell_matrices(hamiltonian, aim, "hamiltonian", spin) for spin in range(hamiltonian.n_spins)
    ]
    every = np.unique(np.concatenate([cells, *(found for found, _ in spins)]), axis=0)
    geometry.set_nsc((2 * np.abs(every).max(axis=0) + 1).tolist())
    no, total = geometry.no, geometry.no_s
    parts = [
        _supercell(geometry, no, total, found, matrices)
        for found, matrices in [*spins, (cells, overlaps)]
    ]
    # sisl wants one pattern for all.
    pattern = sum(abs(part) for part in parts).tocsr()
    pattern.sort_indices()
    rows = np.repeat(np.arange(no), np.diff(pattern.indptr))
    same = [
        _csr(np.asarray(part[rows, pattern.indices]).ravel(), pattern, no, total) for part in parts
    ]
    spin = "polarized" if len(spins) == 2 else "unpolarized"
    return sisl.Hamiltonian.fromsp(geometry, same[:-1], S=same[-1], spin=spin)


def _csr(values: np.ndarray, pattern: Any, no: int, total: int) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_matrix((values, pattern.indices, pattern.indptr), shape=(no, total))


def _supercell(geometry: Any, no: int, total: int, cells: np.ndarray, matrices: Sequence) -> Any:
    import scipy.sparse

    found = scipy.sparse.csr_matrix((no, total))
    for cell, matrix in zip(cells.tolist(), matrices, strict=True):
        coo = matrix.tocoo()
        column = coo.col + no * geometry.lattice.sc_index(cell)
        found = found + scipy.sparse.csr_matrix((coo.data, (coo.row, column)), shape=(no, total))
    return found


def geometry_of_shells(
    numbers: Int[np.ndarray, " atoms"],
    degrees: Mapping[int, Sequence[int]],
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    reach: Mapping[int, Sequence[float]] | None = None,
) -> Any:
    """Return sisl's geometry of atoms whose orbitals are shells in SIESTA's order.

    Args:
        numbers: atomic numbers.
        degrees: l of the shells of each element.
        positions: in Å.
        cell: vectors in Å.
        reach: radius of each shell in Å; not known if None.
    """
    sisl = extra("sisl")
    kinds = {}
    for z, shells in degrees.items():
        zeta: dict[int, int] = {}
        orbitals: list = []
        for degree, cutoff in zip(shells, reach[z] if reach else [-1.0] * len(shells), strict=True):
            zeta[degree] = zeta.get(degree, 0) + 1
            orbitals += [
                sisl.AtomicOrbital(
                    n=degree + 1, l=degree, m=m, zeta=zeta[degree], P=False, R=cutoff
                )
                for m in range(-degree, degree + 1)
            ]
        kinds[z] = sisl.Atom(z, orbitals)
    return sisl.Geometry(positions, [kinds[int(z)] for z in numbers], sisl.Lattice(cell))


FORMAT = Format(
    "sisl", "sisl", _find, None, _write, ".nc", refusal="is written only; import it as siesta"
)
