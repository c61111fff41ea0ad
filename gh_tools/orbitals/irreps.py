"""Blocks in the basis of orbitals to irreducible representations of O(3), and back.

The product of two shells l1 ⊗ l2 decomposes into irreps l = |l1 - l2| … l1 + l2. An irrep with
l1 + l2 + l even transforms under inversion as spherical harmonics do and is called a tensor here; with
l1 + l2 + l odd it is a pseudotensor. The transform is orthonormal, so that sums of squares (but not
of absolute values) are the same in both forms.

Blocks of two spin channels become twice as many components: those of the mean (H_up + H_down)/2, then
those of the half difference (H_up - H_down)/2. Without magnetisation the latter vanish, and reversing
all spins changes their sign and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import Basis, ElementBasis, SpeciesPair
from gh_tools.orbitals.order import clebsch_gordan


@dataclass(frozen=True)
class Irreps:
    """The irreps of the blocks of one element or species pair, component by component.

    Attributes:
        parity: 0 where the component belongs to a tensor, 1 to a pseudotensor.
        l: degree of the irrep.
        m: order of the component, from -l to l.
        channel: counts the irreps of the same parity and degree.
        shell_a: shell of the first atom.
        shell_b: shell of the second atom.
        spin: 0 where the component belongs to the mean of the spins, 1 to the half difference.
        matrix: orthonormal rows that take a flattened block of one spin to its components.
        shape: orbitals of the first and of the second atom.
    """

    parity: Int[np.ndarray, " components"]
    l: Int[np.ndarray, " components"]  # noqa: E741
    m: Int[np.ndarray, " components"]
    channel: Int[np.ndarray, " components"]
    shell_a: Int[np.ndarray, " components"]
    shell_b: Int[np.ndarray, " components"]
    spin: Int[np.ndarray, " components"]
    matrix: Float[np.ndarray, "components_of_spin orbital_pairs"]
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.l)

    @property
    def n_spins(self) -> int:
        """Number of spin channels."""
        return self.size // len(self.matrix)

    @property
    def index(self) -> Int[np.ndarray, " components"]:
        """Which irrep each component belongs to, counted in their order."""
        return np.cumsum(self.m == -self.l) - 1

    @property
    def scalar(self) -> np.ndarray:
        """Mask of the components that no rotation or reflection changes."""
        return (self.l == 0) & (self.parity == 0)

    def blocks_shape(self, count: int) -> tuple[int, ...]:
        """Return the shape of so many blocks; the spin axis, where there is one, leads."""
        return (*(() if self.n_spins == 1 else (2,)), count, *self.shape)

    def to_irreps(
        self, blocks: Float[np.ndarray, "*spin ... ka kb"]
    ) -> Float[np.ndarray, "... components"]:
        """Decompose blocks. On-site blocks must be symmetric."""
        flat = blocks.reshape(*blocks.shape[:-2], -1)
        matrix = self.matrix.T.astype(blocks.dtype)
        if self.n_spins == 1:
            return flat @ matrix
        up, down = flat
        return np.concatenate([(up + down) / 2 @ matrix, (up - down) / 2 @ matrix], axis=-1)

    def to_blocks(self, components: Float[Any, "... components"]) -> Float[Any, "*spin ... ka kb"]:
        """Compose blocks from what `to_irreps` gave, or from a prediction of it, also within JAX."""
        matrix = self.matrix.astype(components.dtype)
        if self.n_spins == 1:
            flat = components @ matrix
        else:
            xp = components.__array_namespace__()
            mean, half = (part @ matrix for part in xp.split(components, 2, axis=-1))
            flat = xp.stack([mean + half, mean - half])
        return flat.reshape(*flat.shape[:-1], *self.shape)


@dataclass(frozen=True)
class SymmetricIrreps(Irreps):
    """The irreps of symmetric on-site blocks: of shells (a, b) and (b, a) only one is there."""

    def to_blocks(
        self, components: Float[np.ndarray, "... components"]
    ) -> Float[np.ndarray, "*spin ... ka kb"]:
        """Compose blocks that equal their transposes bit by bit."""
        blocks = super().to_blocks(components)
        return (blocks + np.swapaxes(blocks, -1, -2)) / 2


class IrrepLayout:
    """How the blocks of a basis table decompose.

    Args:
        basis: the table.
        n_spins: 2 for blocks with a spin axis.

    Attributes:
        basis: the table.
        n_spins: number of spin channels.
        onsite: `SymmetricIrreps` by atomic number; k(k + 1)/2 components for k orbitals and each spin.
        pair: `Irreps` by species pair (Zi, Zj), Zi <= Zj; ki·kj components for each spin.
    """

    def __init__(self, basis: Basis, n_spins: int = 1):
        self.basis, self.n_spins = basis, n_spins
        self.onsite: dict[int, Irreps] = {
            number: _decompose(element, element, n_spins, symmetric=True)
            for number, element in basis.elements.items()
        }
        self.pair: dict[SpeciesPair, Irreps] = {
            (zi, zj): _decompose(basis[zi], basis[zj], n_spins, symmetric=False)
            for zi, zj in basis.species_pairs()
        }

    @property
    def max_degree(self) -> int:
        """Largest degree of an irrep."""
        return max(int(irreps.l.max()) for irreps in self._all())

    @property
    def max_pair_degree(self) -> int:
        """Largest degree of an irrep of a pair block."""
        return max(int(irreps.l.max()) for irreps in self.pair.values())

    def n_channels(self, parity: int, degree: int) -> int:
        """Largest number of irreps of this parity and degree in the blocks of one element or species pair."""
        counts = (
            irreps.channel[(irreps.parity == parity) & (irreps.l == degree)]
            for irreps in self._all()
        )
        return max((int(channel.max()) + 1 for channel in counts if channel.size), default=0)

    @property
    def onsite_size(self) -> int:
        """Largest number of components of an on-site block."""
        return max(irreps.size for irreps in self.onsite.values())

    @property
    def pair_size(self) -> int:
        """Largest number of components of a pair block."""
        return max(irreps.size for irreps in self.pair.values())

    def _all(self) -> list[Irreps]:
        return [*self.onsite.values(), *self.pair.values()]


def _decompose(a: ElementBasis, b: ElementBasis, n_spins: int, symmetric: bool) -> Irreps:
    start_a, start_b = (
        np.concatenate([[0], np.cumsum([2 * degree + 1 for degree in element.degrees])])
        for element in (a, b)
    )
    channels: dict[tuple[int, int], int] = {}
    rows, columns = [], []
    for shell_a, l1 in enumerate(a.degrees):
        for shell_b, l2 in enumerate(b.degrees):
            if symmetric and shell_b < shell_a:
                continue
            for degree, coefficients in clebsch_gordan(l1, l2).items():
                parity = (l1 + l2 + degree) % 2
                if symmetric and shell_a == shell_b and parity == 1:
                    continue  # antisymmetric in the two orbitals of one shell
                channel = channels.get((parity, degree), 0)
                channels[parity, degree] = channel + 1
                # axes: component, orbital of a, orbital of b
                block = np.zeros((2 * degree + 1, a.n_orbitals, b.n_orbitals))
                block[
                    :,
                    start_a[shell_a] : start_a[shell_a + 1],
                    start_b[shell_b] : start_b[shell_b + 1],
                ] = np.moveaxis(coefficients, -1, 0)
                if symmetric and shell_a != shell_b:
                    block = (block + block.transpose(0, 2, 1)) / np.sqrt(2)
                rows.append(block.reshape(2 * degree + 1, -1))
                columns += [
                    (parity, degree, m, channel, shell_a, shell_b)
                    for m in range(-degree, degree + 1)
                ]
    cls = SymmetricIrreps if symmetric else Irreps
    parity, degree, m, channel, shell_a, shell_b = np.tile(
        np.array(columns, dtype=np.int64).T, n_spins
    )
    spin = np.repeat(np.arange(n_spins), len(columns))
    count = np.array([channels[key] for key in zip(parity.tolist(), degree.tolist(), strict=True)])
    return cls(
        *(parity, degree, m, channel + spin * count, shell_a, shell_b, spin),
        matrix=np.concatenate(rows),
        shape=(a.n_orbitals, b.n_orbitals),
    )
