"""What a trained model must know of the configuration that it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from gh_tools.aliases import renamed_keys
from gh_tools.model.config import BondFrameConfig, ModelConfig, Section, default_choice


class NetworkConfig(Section):
    """The network and how it computes: what training and prediction share."""

    model: Annotated[ModelConfig, default_choice("model", "bond-frame")] = BondFrameConfig()
    """The network; its key ``model`` selects which."""
    ensemble: int = Field(1, ge=1)
    """Networks that are trained on the same batches, each from initial weights of its own, which takes so many
    times as long. Their mean is the prediction, and their deviation its uncertainty."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the network and its gradients; metrics are always float64."""

    @classmethod
    def of_training(cls, config: Mapping[str, Any]) -> NetworkConfig:
        """Take it from a whole training configuration, whose other keys do not matter here.

        Raises:
            KeyError: it names no network.
            ValueError: a key of it has a value that this version does not know.
        """
        config = renamed_keys(config)
        own = {key: config[key] for key in cls.model_fields if key in config}
        return cls.model_validate({"model": config["model"], **own})
