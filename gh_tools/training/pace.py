"""How far a run is, when it measures, and what it has to leave time for."""

from __future__ import annotations

import math
import time

from gh_tools.training.config import TrainConfig

# Of the time of a run, what measurements may take.
_SHARE = 0.05
# Writing the store, with room for a slow file system; measuring adds what it was seen to take.
_WRITING = 4.0
_LEAST_MEASUREMENTS = 20
# What calibrating error bars takes, in measurements.
_ERROR_BARS = 6.0


class Pace:
    """The clock of a run.

    Without a budget nothing here depends on the time, so that a run repeats bit by bit. With one, the
    part that is done follows the clock, and measurements keep to a share of the time.

    Args:
        config: of the run.
        steps_per_epoch: training steps in an epoch.
        measured: structures that a measurement predicts for each that an epoch trains on.
        started: ``time.monotonic()`` when the clock of the budget began.
        reserve: seconds that the end of the run takes, as far as it is known.
    """

    def __init__(
        self,
        config: TrainConfig,
        steps_per_epoch: int,
        measured: float,
        started: float,
        reserve: float = 0.0,
    ):
        self.config, self.started, self.reserve = config, started, reserve
        self._n_steps = config.most_epochs * steps_per_epoch
        self._interval = config.metrics.interval
        if self._interval is None and config.budget is None:
            # Predicting a structure and comparing its blocks takes about as long as a step on it.
            most = max(1, int(config.most_epochs) // _LEAST_MEASUREMENTS)
            self._interval = min(most, math.ceil(measured / _SHARE))
        self._next = -math.inf

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds that the run has taken, interruptions left out."""
        return time.monotonic() - self.started

    def fraction_done(self, step: int) -> float:
        """Return the part of the run that is done, by steps or by the clock, whichever ends first."""
        part = step / self._n_steps
        if self.config.budget is None:
            return part
        return max(part, self.elapsed / max(self.config.budget - self.reserve, 1e-9))

    def is_due(self, epoch: int) -> bool:
        """Tell whether to measure after an epoch that is not the last."""
        if self._interval is not None:
            return epoch % self._interval == 0
        return time.monotonic() >= self._next

    def eigenvalues_are_due(self, epoch: int, last: int) -> bool:
        """Tell whether a measurement is to include eigenvalues.

        Args:
            epoch: epochs done.
            last: epoch at which they were measured last.
        """
        interval = self.config.metrics.eigenvalue_interval
        return interval is not None and epoch - last >= interval

    def took(self, seconds: float, eigenvalues: bool) -> None:
        """Learn what a measurement took.

        Args:
            seconds: wall-clock time.
            eigenvalues: whether it included them.
        """
        self._next = time.monotonic() + seconds * (1.0 / _SHARE - 1.0)
        if eigenvalues:
            # The last weights are measured, and the best ones where they are others; then by species.
            error_bars = self.config.ensemble > 1 or self.config.last_layers > 0
            self.reserve = _WRITING + (3.0 + _ERROR_BARS * error_bars) * seconds
