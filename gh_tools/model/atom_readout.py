"""From features of atoms to the irreps of on-site blocks."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.initial import normal
from gh_tools.model.rearrange import select
from gh_tools.orbitals.irreps import Irreps


class AtomReadout(nn.Module):
    """Linear maps from features to irreps, with weights of its own for each element.

    Attributes:
        kinds: irreps of the on-site blocks of each element.
    """

    kinds: Sequence[Irreps]

    @nn.compact
    def __call__(
        self,
        tensors: Float[Array, "lm features atoms"],
        pseudotensors: Float[Array, "lm features atoms"] | None,
        species: Float[Array, "species atoms"],
    ) -> Float[Array, "components atoms"]:
        """Return irreps in the order of the layout, and zeros behind those that an element has.

        Args:
            tensors: what irreps of parity 0 are read from.
            pseudotensors: what the others are read from; None where there are none.
            species: one at the atom's element, else zero.
        """
        size, width, n_atoms = tensors.shape
        n_pair_types = len(self.kinds)
        table = AtomSlots(self.kinds, size)
        values = []
        for name, features, column in zip(
            ("tensors", "pseudotensors"), (tensors, pseudotensors), table.column, strict=True
        ):
            if not column.size:
                continue
            assert features is not None  # an element that has such irreps has their features
            kernel = self.param(
                name,
                normal(0.1 / width**0.5),
                (column.max() + 1, n_pair_types * width),
            )
            spread = jnp.asarray(column[..., None] == np.arange(len(kernel)), kernel.dtype)
            kernel = (spread @ kernel).reshape(size, -1, width)
            out = (kernel @ features).reshape(size, -1, n_pair_types, n_atoms)
            values.append(out.reshape(-1, n_pair_types, n_atoms))
        return select(jnp.concatenate(values).swapaxes(0, 1), species, table)


class AtomSlots:
    """Where each component of each kind of block stands among the values that are read.

    Every component lm of tensors, then of pseudotensors, has as many slots as the degree with most
    irreps needs.

    Args:
        kinds: irreps of each kind of block.
        size: number of components lm.

    Attributes:
        column: for tensors and for pseudotensors, by lm and slot, the row of weights that it is read
            with, one for each irrep; -1 where there is none.
        source: by kind, the slot of each component.
        sign: by kind, 1 for each component, and 0 behind those that it has.
        target: by kind, the component that stands in each slot.
        value_sign: by kind, 1 where one does.
    """

    def __init__(self, kinds: Sequence[Irreps], size: int):
        self.column, starts, stop = [], [], 0
        degree = np.floor(np.sqrt(np.arange(size))).astype(int)
        for parity in (0, 1):
            counts = np.zeros(degree[-1] + 1, dtype=int)
            for irreps in kinds:
                chosen = irreps.parity == parity
                np.maximum.at(counts, irreps.l[chosen], irreps.channel[chosen] + 1)
            first = np.cumsum(counts) - counts
            slot = np.arange(counts.max())
            here = first[degree, None] + slot
            self.column.append(np.where(slot < counts[degree, None], here, -1))
            starts.append(stop)
            stop += size * len(slot)
        n_components = max(irreps.size for irreps in kinds)
        self.source = np.zeros((len(kinds), n_components), dtype=np.int32)
        self.target = np.zeros((len(kinds), stop), dtype=np.int32)
        self.sign = np.zeros(self.source.shape)
        self.value_sign = np.zeros(self.target.shape)
        for kind, irreps in enumerate(kinds):
            widths = np.array([column.shape[1] for column in self.column])[irreps.parity]
            component = irreps.l**2 + irreps.l + irreps.m
            slot = np.array(starts)[irreps.parity] + component * widths + irreps.channel
            self.source[kind, : irreps.size] = slot
            self.target[kind, slot] = np.arange(irreps.size)
            self.sign[kind, : irreps.size] = self.value_sign[kind, slot] = 1.0
