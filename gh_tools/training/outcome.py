"""What training gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gh_tools.evaluation.matrix_errors import HamiltonianErrors
from gh_tools.model.last_layer import LastLayerPosterior
from gh_tools.trained_model.calibration import Calibration


@dataclass
class Outcome:
    """What training gives.

    Attributes:
        params: weights by the metric that they are best by.
        best: by metric, the lowest value and its epoch.
        history: one record of metrics an epoch, and before them one of the initial weights.
        clock: wall-clock seconds at which each of them began.
        metrics: of the weights that are best by the H MAE, eigenvalues included.
        errors: of their matrix elements, on the validation set.
        calibration: of the members of an ensemble, shallow or not; None where there is none.
        last_layers: of a shallow ensemble; empty where there is none.
        posterior: what they were drawn from; None where there are none.
        n_parameters: number of weights.
        steps: training steps done.
        seconds: wall-clock time.
    """

    params: dict[str, Any]
    best: dict[str, dict[str, float]]
    history: list[dict[str, float]]
    clock: list[float]
    metrics: dict[str, float]
    errors: HamiltonianErrors
    calibration: Calibration | None
    last_layers: dict[str, Any]
    posterior: LastLayerPosterior | None
    n_parameters: int
    steps: int
    seconds: float
