"""Stores of kind ``model``: all that a prediction needs.

| path | holds |
| --- | --- |
| ``basis/...`` | the basis table that H and S belong to |
| ``split/<part>`` | indices of the structures of each part, in the order of the label stores |
| ``structures/...``, ``atoms/...``, ``column/charge`` | the structures that they count |
| ``domain/...`` | what was trained on, see `domain` |
| ``scaleshift/...`` | the scale-shift store's parameters, of the frame that the model needs |
| ``parameters/<flax path>`` | weights of the epoch with the lowest validation H MAE |
| ``parameters_eigenvalue/<flax path>`` | weights of the epoch with the lowest validation eigenvalue MAE |
| ``last_layers/<flax path>`` | weights of the last layers of a shallow ensemble about the former, with a leading axis of members |
| ``grams/<readout>/<features>/...`` | Gram matrices that they are drawn from, where these take less; files of models have them alone |
| ``calibration/...`` | what the deviation of an ensemble's members is multiplied with, see `calibration` |
| ``history/<metric>`` | one row a measurement; NaN where a metric was not measured |

The attribute ``config`` is the training configuration, whole; ``spins`` the number of spin channels;
``charges`` the charges in |e| that its labels had; ``last_layers`` what else a draw takes: ``members``, ``seed`` and ``noise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import ase
import flax.linen
import flax.traverse_util
import jax
import numpy as np
from jaxtyping import Float

from gh_tools.errors import DataError, UsageError
from gh_tools.labels.split import Split
from gh_tools.model.build import build_model
from gh_tools.model.graph import build_graph
from gh_tools.model.last_layer import CompactGram, LastLayerPosterior
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.store.io import put
from gh_tools.store.partial import PartialStore
from gh_tools.store.read import Store, open_store
from gh_tools.store.structures import Structures, column_attributes, structure_arrays
from gh_tools.trained_model.calibration import Calibration
from gh_tools.trained_model.config import NetworkConfig
from gh_tools.trained_model.domain import Domain
from gh_tools.trained_model.runtime import keep_programs

# Group of the weights that are best by each metric.
GROUPS = {"hamiltonian": "parameters", "eigenvalue": "parameters_eigenvalue"}
# Group of the last layers of a shallow ensemble, and of what they are drawn from.
LAST_LAYERS, GRAMS = "last_layers", "grams"
# Of a shallow ensemble that is drawn: far more than anybody asks for, and what memory holds.
_MOST_MEMBERS = 10_000
_NO_UNIT = {"epoch", "step", "loss", "learning_rate", "ghosts"}


class LoadedModel(NamedTuple):
    """What a model store holds.

    Attributes:
        config: of the network; ``config.model`` goes into ``build_model`` and knows the cutoffs.
        basis: the basis table.
        scaleshift: scale and shift of its irreps.
        params: the tree of weights that ``module.apply`` takes.
        attributes: of the store: metrics, species, labels' settings.
        store: it all was read from.
        last_layers: weights of the last layers of a shallow ensemble about the network, by name; empty where there is none.
        calibration: what the deviation of an ensemble's members, of either kind, is multiplied with.
    """

    config: NetworkConfig
    basis: Basis
    scaleshift: ScaleShift
    params: dict[str, Any]
    attributes: dict[str, Any]
    store: Store
    last_layers: Mapping[str, Any] = MappingProxyType({})
    calibration: Calibration = Calibration()

    @property
    def where(self) -> str:
        """Path of the store."""
        return str(self.store.path)

    @property
    def n_spins(self) -> int:
        """Number of spin channels that it predicts."""
        return int(self.attributes.get("spins", 1))


def save_model(
    partial: PartialStore,
    *,
    basis: Basis,
    scaleshift: ScaleShift,
    split: Split,
    structures: Structures,
    params: Mapping[str, Mapping[str, Any]],
    history: Mapping[str, Float[np.ndarray, " measurements"]],
    attributes: Mapping[str, Any],
    domain: Domain | None = None,
    last_layers: Mapping[str, Any] | None = None,
    posterior: LastLayerPosterior | None = None,
    calibration: Calibration | None = None,
) -> Path:
    """Publish a trained model.

    Args:
        partial: where it was made.
        basis: the basis table.
        scaleshift: scale and shift of its irreps.
        split: which structures were used for what.
        structures: all that the split counts.
        params: weights, as ``module.apply`` takes them, by the metric that they are best by.
        history: by metric.
        attributes: of the root; ``config`` must be there.
        domain: what it was trained on, its parents included; None where it is not known.
        last_layers: weights of the last layers of a shallow ensemble about the network that is best by H.
        posterior: what they were drawn from.
        calibration: of an ensemble's members, of either kind.

    Returns:
        The store's path.
    """
    arrays = {
        **basis.to_arrays(),
        **split.to_arrays(),
        **structure_arrays(structures),
        **{f"scaleshift/{key}": values for key, values in scaleshift.to_arrays().items()},
        **(domain.to_arrays() if domain is not None else {}),
        **(calibration.to_arrays() if calibration is not None else {}),
    }
    for metric, tree in params.items():
        for path, weights in flax.traverse_util.flatten_dict(tree["params"], sep="/").items():
            arrays[f"{GROUPS[metric]}/{path}"] = np.asarray(weights)

    for path, weights in flax.traverse_util.flatten_dict(dict(last_layers or {}), sep="/").items():
        arrays[f"{LAST_LAYERS}/{path}"] = np.asarray(weights)
    if posterior is not None and last_layers is not None:
        arrays |= _smaller_grams(posterior, last_layers)
        how = {"members": posterior.members, "seed": posterior.seed, "noise": dict(posterior.noise)}
        attributes = {**attributes, LAST_LAYERS: how}
    if calibration is not None:
        attributes = {**attributes, "calibration": dict(calibration.spectra)}

    array_attributes = column_attributes(structures)

    def fill(group) -> None:
        for key, values in arrays.items():
            put(group, key, values, array_attributes.get(key))
        for metric, values in history.items():
            unit = "" if metric in _NO_UNIT else "meV"
            put(group, f"history/{metric}", values, {"unit": unit})

    return partial.publish("model", fill, attributes)


def load_model(source: Store | Path | str, best: str = "hamiltonian") -> LoadedModel:
    """Read a model.

    Args:
        source: the model store, opened or by path.
        best: by which validation metric the weights are best: ``hamiltonian`` or ``eigenvalue``.

    Returns:
        Configuration, basis, scale-shift, weights and attributes.

    Raises:
        NoInputError: there is no store.
        DataError: it is no model store, or its weights are not those of the network that it names.
    """
    store = source if isinstance(source, Store) else open_store(source, "model")
    path = store.path
    prefix = f"{GROUPS[best]}/"
    flat = {key.removeprefix(prefix): store[key] for key in store.keys(prefix)}
    if not flat:
        raise DataError(f"{path}: holds no weights under {prefix[:-1]}; train the model anew")
    try:
        config = NetworkConfig.of_training(store.attributes["config"])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: the attribute config describes no network of this version ({error}); "
            "train the model anew"
        ) from None
    basis = Basis.from_arrays(store)
    scaleshift = ScaleShift.from_arrays(store, basis, "scaleshift/", config.model.frame)
    n_spins = store.attributes.get("spins", 1)
    _check_weights(path, prefix, flat, config, basis, n_spins)
    params = {"params": flax.traverse_util.unflatten_dict(flat, sep="/")}
    last_layers = {}
    if best == "hamiltonian":
        last_layers = _last_layers(store, flat)
        last_layers |= _drawn(store, set(last_layers), config, basis, params)
    calibration = Calibration.of_store(store, IrrepLayout(basis, n_spins))
    return LoadedModel(
        config, basis, scaleshift, params, store.attributes, store, last_layers, calibration
    )


def _last_layers(store: Store, weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Read the last layers of a shallow ensemble; raise `DataError` unless they have shapes of the network's."""
    prefix = f"{LAST_LAYERS}/"
    flat = {key.removeprefix(prefix): store[key] for key in store.keys(prefix)}
    counts = {len(rows) if rows.ndim else 0 for rows in flat.values()}
    for key, rows in flat.items():
        own = weights[key].shape if key in weights else "none"
        if rows.shape[1:] != own or len(counts) > 1 or min(counts) < 2:
            raise DataError(
                f"{store.path}: {prefix}{key}: expected weights of two members or more, as many as others have, each of shape "
                f"{own} as in {GROUPS['hamiltonian']}, found shape {rows.shape}; train the model anew"
            )
    missing = {key.partition("/")[0] for key in flat}
    for key in weights:
        if key.partition("/")[0] in missing and key not in flat:
            raise DataError(f"{store.path}: lacks {prefix}{key}; train the model anew")
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def _smaller_grams(
    posterior: LastLayerPosterior, last_layers: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return the arrays of Gram matrices that are smaller than what is drawn from them."""
    arrays = {}
    for name, grams in posterior.grams.items():
        drawn = sum(leaf.nbytes for leaf in jax.tree.leaves(last_layers[name]))
        if sum(gram.nbytes for gram in grams.values()) < drawn:
            for key, gram in grams.items():
                arrays[f"{GRAMS}/{name}/{key}/length"] = gram.length
                arrays[f"{GRAMS}/{name}/{key}/cosine"] = gram.cosine
    return arrays


def _drawn(
    store: Store, there: set[str], config: NetworkConfig, basis: Basis, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Draw the last layers of which a store has the posterior alone; raise `DataError` if it is not one of the network's."""
    grams: dict[str, dict[str, CompactGram]] = {}
    for key in store.keys(f"{GRAMS}/"):
        _, name, features, array = key.split("/")
        if array == "length" and name not in there:
            length, cosine = store[key], store[f"{GRAMS}/{name}/{features}/cosine"]
            grams.setdefault(name, {})[features] = CompactGram(length, cosine)
    if not grams:
        return {}
    try:
        how = store.attributes[LAST_LAYERS]
        members = int(how["members"])
        if not 2 <= members <= _MOST_MEMBERS:
            raise ValueError(f"expected 2 to {_MOST_MEMBERS} members, found {members}")
        posterior = LastLayerPosterior(grams, how["noise"], members, how["seed"])
        network = build_model(config.model, basis, store.attributes.get("spins", 1), n_pair_types=1)
        drawn = posterior.draw(network, params)
        for name, weights in drawn.items():
            jax.tree.map(_check_members, weights, params["params"][name])
    except (KeyError, ValueError, IndexError, TypeError, np.linalg.LinAlgError) as error:
        raise DataError(
            f"{store.path}: {GRAMS}/ and the attribute {LAST_LAYERS} are not those of the network's last layers ({error}); "
            "train the model anew, or predict with another"
        ) from None
    return drawn


def _check_members(members: np.ndarray, own: np.ndarray) -> None:
    if members.shape[1:] != own.shape:
        raise ValueError(f"expected weights of shape {own.shape}, found {members.shape[1:]}")


def _check_weights(
    path: Path | str,
    prefix: str,
    weights: Mapping[str, np.ndarray],
    config: NetworkConfig,
    basis: Basis,
    n_spins: int,
) -> None:
    """Raise `DataError` unless the weights have names and shapes of the network, which is traced but not run."""
    cutoffs = config.model.cutoffs(basis)
    near = min(cutoffs.descriptor, *cutoffs.pairs.values()) / 2
    two = ase.Atoms(numbers=2 * basis.numbers[:1], positions=[(0, 0, 0), (0, 0, near)])
    graph = build_graph(two, basis, cutoffs)
    # As it will run: what is traced and compiled for this is so for what follows, too.
    keep_programs()
    try:
        with jax.enable_x64(config.precision == "float64"):
            network = build_model(config.model, basis, n_spins, n_pair_types=1)
            drawn = jax.eval_shape(network.init, jax.random.key(0), graph)
    except UsageError as error:
        raise DataError(f"{path}: the attribute config: {error}") from None
    members = () if config.ensemble == 1 else (config.ensemble,)
    tree = flax.linen.meta.unbox(drawn)["params"]
    expected = {
        key: (*members, *leaf.shape)
        for key, leaf in flax.traverse_util.flatten_dict(tree, sep="/").items()
    }
    for key in sorted(expected.keys() | weights.keys()):
        found = weights[key].shape if key in weights else "none"
        if found != expected.get(key, "none"):
            raise DataError(
                f"{path}: {prefix}{key}: expected weights of shape {expected.get(key, 'none')} as in the "
                f"network of the attribute config, found {found}; train the model anew"
            )
