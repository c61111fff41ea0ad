"""From features of atoms to the irreps of on-site blocks."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.initial import normal
from gh_tools.model.last_layer import draw_rows, gram
from gh_tools.model.rearrange import select_components
from gh_tools.orbitals.irreps import Irreps


class AtomReadout(nn.Module):
    """Linear maps from features to irreps, with weights of its own for each element.

    Attributes:
        elements: irreps of the on-site block of each.
    """

    elements: Sequence[Irreps]

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
        n_elements = len(self.elements)
        table = AtomSlots(self.elements, size)
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
                (column.max() + 1, n_elements * width),
            )
            broadcast = jnp.asarray(column[..., None] == np.arange(len(kernel)), kernel.dtype)
            kernel = (broadcast @ kernel).reshape(size, -1, width)
            out = (kernel @ features).reshape(size, -1, n_elements, n_atoms)
            values.append(out.reshape(-1, n_elements, n_atoms))
        return select_components(jnp.concatenate(values).swapaxes(0, 1), species, table)

    def grams(
        self,
        tensors: Float[Array, "lm features atoms"],
        pseudotensors: Float[Array, "lm features atoms"] | None,
        weight: Float[Array, "species atoms"],
    ) -> dict[str, Float[Array, "degrees species features features"]]:
        """Return sums over atoms and orders m of products of the features that are read.

        Args:
            tensors: as they are read.
            pseudotensors: likewise.
            weight: of each atom, at the index of its element.
        """
        found = {}
        for name, features in (("tensors", tensors), ("pseudotensors", pseudotensors)):
            if features is None:
                continue
            matrices = gram(features, weight)
            found[name] = jnp.stack(
                [
                    matrices[degree**2 : (degree + 1) ** 2].sum(axis=0)
                    for degree in range(round(len(features) ** 0.5))
                ]
            )
        return found

    def draw(
        self,
        weights: dict[str, np.ndarray],
        grams: dict[str, np.ndarray],
        count: int,
        random: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """Return deviations of the weights, drawn from their posterior, with a leading axis of members; see `last_layer`.

        Args:
            weights: of the readout, for their shapes.
            grams: Gram matrices of its features, summed over the training set, by name.
            count: number of members.
            random: where numbers come from.
        """
        drawn = {}
        for parity, name in enumerate(("tensors", "pseudotensors")):
            if name not in weights:
                continue
            matrices = grams[name]
            size = len(matrices) ** 2
            column = AtomSlots(self.elements, size).column[parity]
            lm, slot = np.nonzero(column >= 0)
            degree = np.zeros(len(weights[name]), dtype=int)
            degree[column[lm, slot]] = np.sqrt(lm).astype(int)
            chosen = matrices[degree]
            rows = draw_rows(chosen, (count, *chosen.shape[:2]), random)
            drawn[name] = rows.reshape(count, *weights[name].shape)
        return drawn


class AtomSlots:
    """Where each component of the on-site block of each element stands among the values that are read.

    Every component lm of tensors, then of pseudotensors, has as many slots as the degree with most
    irreps needs.

    Args:
        elements: irreps of the on-site block of each.
        size: number of components lm.

    Attributes:
        column: for tensors and for pseudotensors, by lm and slot, the row of weights that it is read
            with, one for each irrep; -1 where there is none.
        source: by element, the slot of each component.
        sign: by element, 1 for each component, and 0 behind those that it has.
        target: by element, the component that stands in each slot.
        value_sign: by element, 1 where one does.
    """

    def __init__(self, elements: Sequence[Irreps], size: int):
        self.column, starts, stop = [], [], 0
        degree = np.floor(np.sqrt(np.arange(size))).astype(int)
        for parity in (0, 1):
            counts = np.zeros(degree[-1] + 1, dtype=int)
            for irreps in elements:
                chosen = irreps.parity == parity
                np.maximum.at(counts, irreps.l[chosen], irreps.channel[chosen] + 1)
            first = np.cumsum(counts) - counts
            slot = np.arange(counts.max())
            here = first[degree, None] + slot
            self.column.append(np.where(slot < counts[degree, None], here, -1))
            starts.append(stop)
            stop += size * len(slot)
        n_components = max(irreps.size for irreps in elements)
        self.source = np.zeros((len(elements), n_components), dtype=np.int32)
        self.target = np.zeros((len(elements), stop), dtype=np.int32)
        self.sign = np.zeros(self.source.shape)
        self.value_sign = np.zeros(self.target.shape)
        for element, irreps in enumerate(elements):
            widths = np.array([column.shape[1] for column in self.column])[irreps.parity]
            component = irreps.l**2 + irreps.l + irreps.m
            slot = np.array(starts)[irreps.parity] + component * widths + irreps.channel
            self.source[element, : irreps.size] = slot
            self.target[element, slot] = np.arange(irreps.size)
            self.sign[element, : irreps.size] = self.value_sign[element, slot] = 1.0
