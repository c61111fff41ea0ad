"""Blocks in the basis of orbitals to irreducible representations of O(3), and back.

The product of two shells l1 ⊗ l2 decomposes into irreps l = |l1 - l2| … l1 + l2. An irrep with
l1 + l2 + l even turns under inversion as spherical harmonics do and is called a tensor here; with
l1 + l2 + l odd it is a pseudotensor. The transform is orthonormal, so that sums of squares (but not
of absolute values) are the same in both forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gh_tools.orbitals.basis import Basis, ElementBasis, SpeciesPair
from gh_tools.orbitals.order import clebsch_gordan


@dataclass(frozen=True)
class Irreps:
    """The irreps of one kind of block, component by component.

    Attributes:
        parity: 0 where the component belongs to a tensor, 1 to a pseudotensor.
        l: degree of the irrep.
        m: order of the component, from -l to l.
        channel: counts the irreps of the same parity and degree.
        shell_a: shell of the first atom.
        shell_b: shell of the second atom.
        matrix: orthonormal rows that take a flattened block to its components.
        shape: orbitals of the first and of the second atom.
    """

    parity: Int[np.ndarray, "components"]
    l: Int[np.ndarray, "components"]  # noqa: E741
    m: Int[np.ndarray, "components"]
    channel: Int[np.ndarray, "components"]
    shell_a: Int[np.ndarray, "components"]
    shell_b: Int[np.ndarray, "components"]
    matrix: Float[np.ndarray, "components ka*kb"]
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.l)

    @property
    def scalar(self) -> np.ndarray:
        """Mask of the components that no rotation or reflection changes."""
        return (self.l == 0) & (self.parity == 0)

    def to_irreps(
        self, blocks: Float[np.ndarray, "... ka kb"]
    ) -> Float[np.ndarray, "... components"]:
        """Decompose blocks. On-site blocks must be symmetric."""
        return blocks.reshape(*blocks.shape[:-2], -1) @ self.matrix.T.astype(blocks.dtype)

    def to_blocks(
        self, components: Float[np.ndarray, "... components"]
    ) -> Float[np.ndarray, "... ka kb"]:
        """Compose blocks from what `to_irreps` gave, or from a prediction of it."""
        flat = components @ self.matrix.astype(components.dtype)
        return flat.reshape(*components.shape[:-1], *self.shape)


@dataclass(frozen=True)
class SymmetricIrreps(Irreps):
    """The irreps of symmetric on-site blocks: of shells (a, b) and (b, a) only one is there."""

    def to_blocks(
        self, components: Float[np.ndarray, "... components"]
    ) -> Float[np.ndarray, "... ka kb"]:
        """Compose blocks that equal their transposes bit by bit."""
        blocks = super().to_blocks(components)
        return (blocks + np.swapaxes(blocks, -1, -2)) / 2


class IrrepLayout:
    """How the blocks of a basis table decompose.

    Attributes:
        basis: the table.
        onsite: `SymmetricIrreps` by atomic number; k(k + 1)/2 components for k orbitals.
        pair: `Irreps` by species pair (Zi, Zj), Zi <= Zj; ki·kj components.
    """

    def __init__(self, basis: Basis):
        self.basis = basis
        self.onsite: dict[int, SymmetricIrreps] = {
            number: _decompose(element, element, symmetric=True)
            for number, element in basis.elements.items()
        }
        self.pair: dict[SpeciesPair, Irreps] = {
            (zi, zj): _decompose(basis[zi], basis[zj], symmetric=False)
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
        """Largest number of irreps of this parity and degree in one kind of block."""
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


def _decompose(a: ElementBasis, b: ElementBasis, symmetric: bool) -> Irreps:
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
    kind = SymmetricIrreps if symmetric else Irreps
    indices = np.array(columns, dtype=np.int64).T
    return kind(*indices, matrix=np.concatenate(rows), shape=(a.n_orbitals, b.n_orbitals))
