"""PAW corrections of two-centre matrices: Σ_a ⟨φ_i|p̃_a⟩ dX_a ⟨p̃_a|φ_j⟩ for lists of pairs."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar, no_type_check

import ase
import numba
import numpy as np
from jaxtyping import Float, Int

from gh_tools.dft.block_list import BlockList
from gh_tools.dft.two_center import TwoCenterIntegrals
from gh_tools.orbitals.pairs import Neighbours

Name = TypeVar("Name", bound=Hashable)

_NEGLIGIBLE = (
    1e-9  # a block of projections below changes S by less than 1e-8 and H by less than 1e-6 eV
)
_WEIGHED = 4096  # blocks of projections that are multiplied at once
_OFFSET_BASE = 2**12  # cells in each direction that a key can tell apart


class Projections:
    """⟨p̃_a|φ_i⟩ of orbitals of cell 0 and all projectors within their reach.

    Args:
        atoms: the structure.
        integrals: two-centre integrals that cover its species.
        sites: atoms whose orbitals are wanted, ascending; all if None.
        neighbours: of the structure, up to at least `projection_reach`, if they are there already.
    """

    def __init__(
        self,
        atoms: ase.Atoms,
        integrals: TwoCenterIntegrals,
        sites: Int[np.ndarray, " sites"] | None = None,
        neighbours: Neighbours | None = None,
    ):
        numbers = atoms.numbers
        self._integrals = integrals
        species = sorted(set(numbers.tolist()))
        reach = projection_reach(integrals, species)
        sites = np.arange(len(atoms)) if sites is None else sites
        i, a, cell_offset, vector = (neighbours or Neighbours(atoms, reach)).of(sites, reach)
        i, a = np.concatenate([i, sites]), np.concatenate([a, sites])
        cell_offset = np.concatenate(
            [cell_offset, np.zeros((len(sites), 3), dtype=cell_offset.dtype)]
        )
        vector = np.concatenate([vector, np.zeros((len(sites), 3))])

        entries, blocks = [], []
        for za in species:
            for zi in species:
                near = integrals.projector_reach(za) + integrals.orbital_reach(zi)
                mine = np.flatnonzero(
                    (numbers[a] == za)
                    & (numbers[i] == zi)
                    & (np.linalg.norm(vector, axis=1) < near)
                )
                block = integrals.projector(za, zi, -vector[mine])
                large = np.abs(block).max(axis=(1, 2)) > _NEGLIGIBLE
                entries.append(mine[large])
                blocks.append(block[large])
        # From the orbitals' atom to that of the projectors, of each block.
        self._vectors = [vector[entry] for entry in entries]
        self._centers = [a[entry] for entry in entries]
        self._species = [za for za in species for _ in species]

        entry = np.concatenate(entries)
        sizes = np.concatenate([np.full(len(b), b.shape[1] * b.shape[2]) for b in blocks])
        offset = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        key = _key(a[entry], cell_offset[entry])
        order = np.lexsort((key, i[entry]))
        self._key, self._offset = key[order], offset[order]
        self._rows = np.concatenate([np.full(len(b), b.shape[1]) for b in blocks])[order]
        self._ptr = np.searchsorted(i[entry][order], np.arange(len(atoms) + 1))
        self._flat, self._blocks = _flatten(blocks)

    def correction(
        self,
        coefficients: Mapping[int, Float[np.ndarray, "_projectors _projectors"]]
        | Sequence[Float[np.ndarray, "_projectors _projectors"]],
        lists: Mapping[Name, BlockList],
    ) -> dict[Name, Float[np.ndarray, "_pairs _ki _kj"]]:
        """Sum over all atoms a for each pair of orbitals' atoms.

        Args:
            coefficients: matrix dX of each atom a, or one for all atoms of each atomic number, symmetric or
                antisymmetric.
            lists: the blocks that are wanted.

        Returns:
            Blocks for each of ``lists``, in the unit of ``coefficients``.
        """
        weighted = self._weighted(coefficients, self._blocks)
        return {name: self._summed(self._flat, weighted, block) for name, block in lists.items()}

    def positions(
        self,
        dipoles: Mapping[int, Float[np.ndarray, "3 _projectors _projectors"]],
        overlaps: Mapping[int, Float[np.ndarray, "_projectors _projectors"]],
        lists: Mapping[Name, BlockList],
    ) -> dict[Name, Float[np.ndarray, "3 _pairs _ki _kj"]]:
        """Sum ⟨φ_i|p̃_a⟩ [D_a + (τ_a − (τ_i + τ_j)/2) dO_a] ⟨p̃_a|φ_j⟩ over all atoms a for each pair of orbitals' atoms.

        Args:
            dipoles: matrices D of each element's projectors, along x, y and z, Å.
            overlaps: matrices dO of them.
            lists: the blocks that are wanted.

        Returns:
            Blocks along x, y and z for each of ``lists``, Å.
        """
        found: dict[Name, list] = {name: [] for name in lists}
        plain = self._weighted(overlaps, self._blocks)
        for axis in range(3):
            # τ_a − (τ_i + τ_j)/2 is half the sum of the vectors from both orbitals' atoms to a.
            halves = [
                0.5 * block * vector[:, axis, None, None]
                for block, vector in zip(self._blocks, self._vectors, strict=True)
            ]
            moved = np.concatenate([half.ravel() for half in halves])
            weighted = self._weighted({z: d[axis] for z, d in dipoles.items()}, self._blocks)
            weighted += self._weighted(overlaps, halves)
            for name, block in lists.items():
                found[name].append(
                    self._summed(self._flat, weighted, block) + self._summed(moved, plain, block)
                )
        return {name: np.stack(blocks) for name, blocks in found.items()}

    def _weighted(self, coefficients, blocks: Sequence) -> Float[np.ndarray, " values"]:
        """Return the projections multiplied with a matrix of their atom, behind each other."""
        weighted = np.empty_like(self._flat)
        start = 0
        for za, centers, block in zip(self._species, self._centers, blocks, strict=True):
            out = weighted[start : (start := start + block.size)].reshape(block.shape)
            _weigh(coefficients, za, centers, block, out)
        return weighted

    def _summed(self, left, right, block: BlockList) -> Float[np.ndarray, "pairs ki kj"]:
        """Return Σ_a leftᵀ·right of each pair of orbitals' atoms."""
        shape = [self._integrals.setups[z].nao for z in (block.zi, block.zj)]
        result = np.zeros((len(block.i), *shape))
        _accumulate(
            block.i.astype(np.int64),
            block.j.astype(np.int64),
            _key(np.zeros(len(block.i), dtype=np.int64), block.cell_offset),
            self._ptr,
            self._key,
            self._offset,
            self._rows,
            left,
            right,
            result,
        )
        return result


def projection_reach(integrals: TwoCenterIntegrals, species: Iterable[int]) -> float:
    """Distance in Å beyond which no projector of these elements sees an orbital."""
    species = list(species)
    return max(map(integrals.projector_reach, species)) + max(map(integrals.orbital_reach, species))


def _weigh(coefficients, za, centers, block, out) -> None:
    """Multiply each block of projections with the matrix of its projectors' atom."""
    for start in range(0, len(block), _WEIGHED):
        rows = slice(start, start + _WEIGHED)
        if isinstance(coefficients, Mapping):
            matrices = coefficients[za]
        else:
            matrices = np.stack([coefficients[atom] for atom in centers[rows].tolist()])
        np.matmul(matrices, block[rows], out=out[rows])


def _flatten(blocks: list) -> tuple[Float[np.ndarray, " values"], list]:
    """Move blocks behind each other; they are taken out of the list, and views come back."""
    shapes = [block.shape for block in blocks]
    flat = np.empty(sum(block.size for block in blocks))
    views, start = [], 0
    for shape in shapes:
        view = flat[start : (start := start + int(np.prod(shape)))].reshape(shape)
        view[...] = blocks.pop(0)
        views.append(view)
    return flat, views


def _key(
    atom: Int[np.ndarray, " entries"], cell_offset: Int[np.ndarray, "entries 3"]
) -> Int[np.ndarray, " entries"]:
    """One integer for an atom in a cell; the keys of two cells differ by the key of their distance."""
    x, y, z = cell_offset.astype(np.int64).T
    return ((atom * _OFFSET_BASE + x) * _OFFSET_BASE + y) * _OFFSET_BASE + z


@no_type_check  # Numba compiles the function, not what checks its types in the tests
@numba.njit(cache=True, nogil=True, fastmath=True)
def _accumulate(i, j, delta, ptr, key, offset, rows, left, right, out):
    """Add leftᵀ·right of all centres that both atoms of a pair see; both lists are sorted by key."""
    ki, kj = out.shape[1], out.shape[2]
    for pair in range(len(i)):
        first, first_end = ptr[i[pair]], ptr[i[pair] + 1]
        second, second_end = ptr[j[pair]], ptr[j[pair] + 1]
        while first < first_end and second < second_end:
            # What atom j sees from cell 0, it sees shifted by R when it stands in cell R.
            difference = key[first] - (key[second] + delta[pair])
            if difference < 0:
                first += 1
            elif difference > 0:
                second += 1
            else:
                for row in range(rows[first]):
                    start = offset[second] + row * kj
                    for x in range(ki):
                        value = left[offset[first] + row * ki + x]
                        for y in range(kj):
                            out[pair, x, y] += value * right[start + y]
                first += 1
                second += 1
