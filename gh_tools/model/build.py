"""The one place that knows which module belongs to which configuration."""

from __future__ import annotations

import flax.linen as nn

from gh_tools.errors import UsageError
from gh_tools.model.bond_frame import BondFrame
from gh_tools.model.config import BondFrameConfig, GearsHConfig, ModelConfig
from gh_tools.model.gears_h import GearsH
from gh_tools.model.prediction import Prediction
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.irreps import IrrepLayout

__all__ = ["Prediction", "build_model"]


def build_model(
    config: ModelConfig, basis: Basis, n_spins: int = 1, n_pair_types: int | None = None
) -> nn.Module:
    """Make the network that a configuration describes.

    Args:
        config: the ``[model]`` table of a training TOML.
        basis: the table of the elements to know.
        n_spins: spin channels of the blocks to predict.
        n_pair_types: most species pairs in a graph, where that is known: with few of many elements in each
            structure a network is faster then. What pairs of more than these get is not a number.

    Returns:
        A module whose ``apply(parameters, graph)`` gives a :class:`Prediction`.

    Raises:
        UsageError: where the degrees of the configuration are too small for the blocks of the basis.
    """
    layout = IrrepLayout(basis, n_spins)
    match config:
        case BondFrameConfig():
            _check_degrees({"max_degree": config.degree(layout.max_degree)}, layout)
            n_types = len(layout.pair)
            return BondFrame(config, layout, min(n_pair_types or n_types, n_types))
        case GearsHConfig():
            degrees = {
                "atom_centered.radial_basis.max_degree": config.atom_centered.radial_basis.max_degree,
                "atom_centered.max_degree": config.atom_centered.max_degree,
                "bond_centered.max_degree": config.bond_centered.max_degree,
            }
            _check_degrees(degrees, layout)
            return GearsH(config, layout)
    raise TypeError(f"no network for a configuration of type {type(config).__name__}")


def _check_degrees(degrees: dict[str, int], layout: IrrepLayout) -> None:
    for key, degree in degrees.items():
        if degree < layout.max_degree:
            raise UsageError(
                f"model.{key} is {degree}, but the blocks of this basis hold irreps up to degree "
                f"{layout.max_degree}; set it to that or more"
            )
