"""What a training TOML may say: one key a line, each with its unit, meaning and default."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from gh_tools.model.config import Section, default_choice
from gh_tools.trained_model.config import NetworkConfig

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_seconds(value: object) -> float:
    """Read a wall-clock time: a text with s, m, h or d behind a number; a number is in seconds, as configurations print it.

    Raises:
        ValueError: when it is neither, or not positive.
    """
    text = f"{value} s" if isinstance(value, int | float) else str(value)
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([smhd]?)\s*", text)
    if match and not match[2]:
        raise ValueError(
            f"expected a time with its unit, such as {match[1]}s, {match[1]}m or {match[1]}h"
        )
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0.0:
        raise ValueError("expected a time such as '90s', '10m' or '1.5h'")
    return seconds


Seconds = Annotated[float, BeforeValidator(parse_seconds)]


class DataConfig(Section):
    """How labels become batches."""

    batch_size: int = Field(1, ge=1)
    """Structures in one training step."""
    bucket_count: int = Field(4, ge=1)
    """At most so many padded sizes, each of which is compiled once: more of them waste less work on
    padding where structures differ in size. One more is taken only where it saves a tenth."""


class OptimizerConfig(Section):
    """What every optimiser has."""

    learning_rate: float = Field(5e-3, gt=0.0)
    """Highest learning rate, which warm-up leads to and the schedule leads away from."""
    clip: float | None = Field(5.0, gt=0.0)
    """Gradients longer than this (global norm) are shortened to it before the optimiser sees them."""


class AdanConfig(OptimizerConfig):
    """Adaptive Nesterov momentum (arXiv 2208.06677): the paper's choice but for WSe2."""

    name: Literal["adan"]
    """Selects this optimiser."""
    b1: float = Field(0.98, ge=0.0, lt=1.0)
    """Decay of the mean gradient."""
    b2: float = Field(0.92, ge=0.0, lt=1.0)
    """Decay of the mean gradient difference."""
    b3: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the mean square."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(0.0, ge=0.0)
    """Pull of the weights to zero."""


class LambConfig(OptimizerConfig):
    """Layer-wise adaptive moments (arXiv 1904.00962): the paper's choice for WSe2."""

    name: Literal["lamb"]
    """Selects this optimiser."""
    b1: float = Field(0.9, ge=0.0, lt=1.0)
    """Decay of the mean gradient."""
    b2: float = Field(0.999, ge=0.0, lt=1.0)
    """Decay of the mean square."""
    eps: float = Field(1e-6, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(0.0, ge=0.0)
    """Pull of the weights to zero."""


class AdamConfig(OptimizerConfig):
    """Adam (arXiv 1412.6980)."""

    name: Literal["adam"]
    """Selects this optimiser."""
    b1: float = Field(0.9, ge=0.0, lt=1.0)
    """Decay of the mean gradient."""
    b2: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the mean square."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    nesterov: bool = False
    """Look ahead along the momentum."""


class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    """Selects this optimiser."""
    learning_rate: float = Field(1e-2, gt=0.0)
    """Highest learning rate, which warm-up leads to and the schedule leads away from."""
    b1: float = Field(0.9, ge=0.0, lt=1.0)
    """Decay of the mean gradient."""
    b2: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the mean square."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(0.05, ge=0.0)
    """Pull of the weights to zero: with a small training set it lowers the errors of others."""
    nesterov: bool = False
    """Look ahead along the momentum."""


Optimizer = Annotated[
    AdanConfig | LambConfig | AdamConfig | AdamWConfig,
    Field(discriminator="name"),
    default_choice("name", "adamw"),
]


class ScheduleConfig(Section):
    """What every learning rate schedule has."""

    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly from zero."""


class ConstantConfig(ScheduleConfig):
    """The same learning rate throughout."""

    name: Literal["constant"]
    """Selects this schedule."""


class PlateauConfig(ScheduleConfig):
    """Lowers the learning rate when the training loss of an epoch stops falling: the paper's."""

    name: Literal["reduce_on_plateau"]
    """Selects this schedule."""
    factor: float = Field(0.5, gt=0.0, lt=1.0)
    """The learning rate is multiplied by this at a plateau."""
    patience: int = Field(10, ge=1)
    """Epochs without improvement that make a plateau."""
    rtol: float = Field(1e-3, ge=0.0)
    """Least relative fall of the loss that counts as improvement."""
    cooldown: int = Field(5, ge=0)
    """Epochs to wait after a reduction."""
    min_scale: float = Field(1e-3, ge=0.0, le=1.0)
    """Never lower the rate below this fraction of its highest value."""


class ExponentialConfig(ScheduleConfig):
    """Decays by a constant factor a step, to a given fraction at the end of the run."""

    name: Literal["exponential"]
    """Selects this schedule."""
    final_scale: float = Field(1e-3, gt=0.0, le=1.0)
    """Fraction of the highest learning rate that is left at the end."""


class CosineConfig(ScheduleConfig):
    """Half a cosine, from the highest rate to a given fraction at the end of the run."""

    name: Literal["cosine"] = "cosine"
    """Selects this schedule."""
    warmup_steps: int = Field(50, ge=0)
    """Steps over which the learning rate rises linearly from zero."""
    final_scale: float = Field(2e-3, ge=0.0, le=1.0)
    """Fraction of the highest learning rate that is left at the end."""


Schedule = Annotated[
    ConstantConfig | PlateauConfig | ExponentialConfig | CosineConfig,
    Field(discriminator="name"),
    default_choice("name", "cosine"),
]


class LossConfig(Section):
    """Sum of root mean square and mean absolute errors of the scaled irreps."""

    pairs: float = Field(4.0, ge=0.0)
    """Weight of pair blocks."""
    onsite: float = Field(1.0, ge=0.0)
    """Weight of on-site blocks."""
    eigenvalues: float = Field(0.0, ge=0.0)
    """Weight (1/eV) of errors of eigenvalues within ±5 eV of the Fermi level, to first order, at random
    k-points of each training structure; 0 turns them off. On 20 structures of WSe2 and after 2000 steps
    it brought no gain on unseen ones beyond the differences between seeds."""
    rmse: float = Field(1.0, ge=0.0)
    """Weight of the root mean square error."""
    mae: float = Field(1.0, ge=0.0)
    """Weight of the mean absolute error."""
    scale_power: float = Field(1.0, ge=0.0, le=1.0)
    """The weight of an error is its component's scale to this power: 0 counts all distances alike, 1 counts
    absolute errors in eV, which halves the H MAE of WSe2 at equal time."""


class EarlyStoppingConfig(Section):
    """Stops when the validation metric no longer improves."""

    patience: int | None = Field(None, ge=1)
    """Epochs without improvement of the validation H MAE after which to stop. Default: never."""
    min_delta: float = Field(0.0, ge=0.0)
    """meV; smaller improvements do not count."""


class MetricsConfig(Section):
    """What is measured on the validation set, and how often."""

    interval: int | None = Field(None, ge=1)
    """Epochs between measurements of the H MAE. Default: so many that they take about a twentieth of the
    time: by the clock where there is a budget, else by the numbers of structures, and at least 20 in a
    run."""
    eigenvalue_interval: int | None = Field(20, ge=1)
    """Epochs, at least, between measurements that include eigenvalues (dense solver). None: only at the
    start and at the end."""
    eigenvalue_structures: int = Field(4, ge=1)
    """At most so many validation structures have their eigenvalues compared."""
    window: float = Field(5.0, gt=0.0)
    """eV; eigenvalues within ± this of the Fermi level are compared."""
    ghost_distance: float = Field(0.3, gt=0.0)
    """eV; a predicted state in the window with no reference state this near is a ghost."""


class TrainConfig(NetworkConfig):
    """Everything that decides a training run, given the data."""

    data: DataConfig = DataConfig()
    """Batches and cutoffs."""
    optimizer: Optimizer = AdamWConfig()
    """The optimiser, selected by its key ``name``."""
    schedule: Schedule = CosineConfig()
    """The learning rate schedule, selected by its key ``name``."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    """When to stop before the end."""
    metrics: MetricsConfig = MetricsConfig()
    """What is measured."""
    epochs: int | None = Field(None, ge=1)
    """Passes through the training set, at most. Default: 1000; with a budget as many as fit in."""
    budget: Seconds | None = None
    """Wall-clock time such as "10m", compilation included: training ends in time, and schedules that
    know the end of the run follow the clock. Runs with a budget depend on the machine's speed."""
    ema: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay of the exponential moving average of the weights, which is then what is evaluated and
    stored; 0 turns it off."""
    last_layers: int = Field(8, ge=0)
    """Members of the shallow ensemble about a single network, from which `gh-infer --error-bars` predicts uncertainties: last
    layers drawn from their posterior after training, which takes seconds. 0 for none; else two at least."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the initial weights, of the shuffling and of what is drawn after it."""
    checkpoint_interval: Seconds = 30.0
    """Wall-clock time between checkpoints, which ``--resume`` starts from."""

    @field_validator("last_layers")
    @classmethod
    def _not_one_alone(cls, count: int) -> int:
        if count == 1:
            raise ValueError(
                "expected 0 or at least 2, because one alone has no deviation, found 1"
            )
        return count

    @property
    def most_epochs(self) -> float:
        """Passes through the training set after which the run ends."""
        if self.epochs is not None:
            return self.epochs
        return 1000 if self.budget is None else math.inf
