"""The compiled programs of a prediction, each on all devices of this machine at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gh_tools.inference.chunks import AtomChunk, PairChunk
from gh_tools.model.ensemble import of_last_layers, vectorised_over_members, with_last_layers
from gh_tools.model.graph import Graph
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.bond_frame import from_frame
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.trained_model.calibration import Calibration, of_ensemble

Chunk = TypeVar("Chunk", AtomChunk, PairChunk)
Program = Callable[[Any, Any], Any]


class Programs:
    """A network's two stages and the composition of blocks, compiled for chunks of fixed sizes.

    Each device works on a chunk of its own, with the program that one device alone would run: chunks
    hold all that they depend on, so devices tell each other nothing, and their number changes no bit.

    Args:
        module: the network.
        params: its weights; of an ensemble with a leading axis of members.
        layout: irreps of the blocks.
        scaleshift: brings irreps to eV.
        members: number of networks whose weights are all their own.
        last_layers: weights of the last layers of a shallow ensemble, whose mean the single network is; None without.
        calibration: of an ensemble of either kind, what the deviation of its members is multiplied with.
    """

    def __init__(
        self,
        module: nn.Module,
        params: Any,
        layout: IrrepLayout,
        scaleshift: ScaleShift,
        members: int = 1,
        last_layers: Any = None,
        calibration: Calibration | None = None,
    ):
        devices = jax.local_devices()
        self._mesh = Mesh(np.array(devices), ("device",))
        single = params
        if last_layers is not None:
            params = with_last_layers(params, last_layers)
        self._params = jax.device_put(params, NamedSharding(self._mesh, PartitionSpec()))

        def atoms(params: Any, graph: Graph) -> Any:
            return module.apply(params, graph, method="predict_atoms")

        def pairs(inputs: Any, graph: Graph) -> Any:
            params, pair_embedding = inputs
            return module.apply(params, pair_embedding, graph, method="predict_pairs")

        # Outside of the network, atoms come first, and then the members of an ensemble.
        swap = partial(jax.tree.map, lambda array: jnp.moveaxis(array, 0, 1))
        each = vectorised_over_members(atoms, members), vectorised_over_members(pairs, members)
        if last_layers is not None:
            self._atoms = self._on_all_devices(
                of_last_layers(atoms, single, last_layers, out_axes=(None, 1))
            )
            self._pairs = self._on_all_devices(
                of_last_layers(
                    lambda params, chunk: pairs((params, chunk[0]), chunk[1]), single, last_layers
                )
            )
        elif members == 1:
            self._atoms = self._on_all_devices(each[0])
            self._pairs = self._on_all_devices(
                lambda params, chunk: each[1]((params, chunk[0]), chunk[1])
            )
        else:
            self._atoms = self._on_all_devices(lambda params, graph: swap(each[0](params, graph)))
            self._pairs = self._on_all_devices(
                lambda params, chunk: each[1]((params, swap(chunk[0])), chunk[1])
            )
        self._compose = {
            key: self._on_all_devices(partial(_compose, layout, scaleshift, key, calibration))
            for key in layout.pair
        }

    def atom_bytes(self, graph: Graph) -> int:
        """Memory of the first stage's result for an atom, told by any graph."""
        graphs = jax.tree.map(lambda array: np.stack([array] * self._mesh.size), graph)
        pair_embedding, onsite = jax.eval_shape(self._atoms, self._params, graphs)
        n_atoms = self._mesh.size * len(graph.species)
        return (
            pair_embedding.size * pair_embedding.dtype.itemsize
            + onsite.size * onsite.dtype.itemsize
        ) // n_atoms

    def atoms(
        self, chunks: Iterable[AtomChunk]
    ) -> Iterator[tuple[AtomChunk, np.ndarray, np.ndarray]]:
        """Yield each chunk with the pair embedding of its atoms, and with scaled on-site irreps."""
        for chunk, (pair_embedding, onsite) in self._stream(
            chunks, lambda chunk: chunk.graph, self._atoms
        ):
            yield chunk, pair_embedding[chunk.rows], onsite[chunk.rows]

    def pairs(
        self, key: SpeciesPair, chunks: Iterable[PairChunk]
    ) -> Iterator[tuple[PairChunk, list[np.ndarray]]]:
        """Yield each chunk of one species pair with its blocks in eV; a spin axis leads, if any.

        Of an ensemble, what `of_ensemble` returns.
        """

        def blocks(params: Any, chunk: tuple) -> list[jax.Array]:
            irreps = self._pairs(params, chunk)
            # Blocks of some eV are sums of dozens of terms: single precision would cost 1e-6 eV.
            with jax.enable_x64(True):
                return self._compose[key]((), (irreps, chunk[1].pair_vector))

        inputs = self._stream(chunks, lambda chunk: (chunk.pair_embedding, chunk.graph), blocks)
        for chunk, found in inputs:
            count = chunk.pairs.stop - chunk.pairs.start
            yield chunk, [blocks[..., :count, :, :] for blocks in found]

    def _on_all_devices(self, function: Program) -> Program:
        """Compile a function of weights and a chunk for one chunk on each device."""

        def of_device(params: Any, chunks: Any) -> Any:
            result = function(params, jax.tree.map(lambda array: array[0], chunks))
            return jax.tree.map(lambda array: array[None], result)

        everywhere, each = PartitionSpec(), PartitionSpec("device")
        return jax.jit(
            jax.shard_map(
                of_device,
                mesh=self._mesh,
                in_specs=(everywhere, each),
                out_specs=each,
                check_vma=False,
            )
        )

    def _stream(
        self, chunks: Iterable[Chunk], arrays: Callable[[Chunk], Any], program: Program
    ) -> Iterator[tuple[Chunk, Any]]:
        """Run a program on chunks; the next ones are made while devices work."""
        flying: deque = deque()
        for batch in self._batches(chunks, arrays):
            inputs = [arrays(chunk) for chunk in batch]
            inputs += inputs[-1:] * (self._mesh.size - len(batch))
            flying.append((batch, program(self._params, jax.tree.map(_stack, *inputs))))
            if len(flying) > 1:
                yield from _landed(*flying.popleft())
        for batch, outputs in flying:
            yield from _landed(batch, outputs)

    def _batches(
        self, chunks: Iterable[Chunk], arrays: Callable[[Chunk], Any]
    ) -> Iterator[list[Chunk]]:
        """Gather as many chunks of one size as there are devices."""
        batch: list[Chunk] = []
        size = None
        for chunk in chunks:
            shapes = [array.shape for array in jax.tree.leaves(arrays(chunk))]
            if batch and (shapes != size or len(batch) == self._mesh.size):
                yield batch
                batch = []
            size = shapes
            batch.append(chunk)
        if batch:
            yield batch


def _stack(*arrays: np.ndarray) -> np.ndarray:
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _landed(batch: list[Chunk], outputs: Any) -> Iterator[tuple[Chunk, Any]]:
    outputs = jax.device_get(outputs)
    for index, chunk in enumerate(batch):
        yield chunk, jax.tree.map(itemgetter(index), outputs)


def _compose(
    layout: IrrepLayout,
    scaleshift: ScaleShift,
    key: SpeciesPair,
    calibration: Calibration | None,
    _: Any,
    chunk: tuple,
) -> list[jax.Array]:
    """Blocks in eV of one species pair, from scaled irreps in the network's frame.

    Of an ensemble, which has a calibration, what `of_ensemble` returns.
    """
    scaled, vector = (array.astype(jnp.float64) for array in chunk)
    irreps, distance = layout.pair[key], jnp.linalg.norm(vector, axis=1)
    shift, scale = scaleshift.pair_terms[key](distance)

    def blocks(scaled: jax.Array) -> jax.Array:
        components = shift + scale * scaled[:, : irreps.size]
        return irreps.to_blocks(from_frame(scaleshift.frame, irreps, components, vector))

    found: tuple[Any, ...] = ()
    if calibration is None:
        found = (blocks(scaled),)
    else:
        own = calibration.calibrated_pairs(key, scaled[..., : irreps.size], distance)
        found = of_ensemble(jax.vmap(blocks)(own))
    return [part.astype(jnp.float32) for part in found]
