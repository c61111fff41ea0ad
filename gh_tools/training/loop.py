"""The training loop: epochs, validation, checkpoints, and when to stop."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gh_tools.console import log, progress
from gh_tools.errors import DataError
from gh_tools.model.build import build_model
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.training.batches import (
    Batch,
    Bucket,
    LabelledSample,
    Sample,
    collate,
    make_buckets,
    plan_epoch,
    sizes_of,
)
from gh_tools.training.checkpoints import Checkpoints, Progress
from gh_tools.training.config import TrainConfig
from gh_tools.training.feed import prefetch
from gh_tools.training.optimizers import build_optimizer, learning_rate, plateau_scale
from gh_tools.training.step import initial_state, make_step
from gh_tools.training.validation import Validation

_PLAIN_INTERVAL = 5.0  # seconds between lines of metrics where standard error is no terminal
BEST = ("hamiltonian", "eigenvalue")


@dataclass
class Interrupt:
    """Whether the run was asked to stop."""

    requested: bool = field(default=False)


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first SIGINT or SIGTERM into a request; the second acts as ever."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number, frame):
        interrupt.requested = True
        signal.signal(number, earlier[number])

    for number in earlier:
        signal.signal(number, request)
    try:
        yield interrupt
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@dataclass
class Outcome:
    """What training gives.

    Attributes:
        params: weights by the metric that they are best by.
        best: by metric, the lowest value and its epoch.
        history: one record of metrics a validation.
        clock: wall-clock seconds at which each of them began.
        metrics: of the weights that are best by the H MAE, eigenvalues included.
        n_parameters: number of weights.
        steps: training steps done.
        seconds: wall-clock time.
    """

    params: dict[str, Any]
    best: dict[str, dict[str, float]]
    history: list[dict[str, float]]
    clock: list[float]
    metrics: dict[str, float]
    n_parameters: int
    steps: int
    seconds: float


class Training:
    """One run.

    Args:
        config: everything that decides it.
        layout: irreps of the basis.
        train: samples to learn from.
        validation: samples to choose the best weights by.
        directory: where checkpoints are kept; the run goes on from the last one that is there.
        started: ``time.monotonic()`` when the clock of the budget began.
    """

    def __init__(
        self,
        config: TrainConfig,
        layout: IrrepLayout,
        train: Sequence[Sample],
        validation: Sequence[LabelledSample],
        directory: Path,
        started: float | None = None,
    ):
        self.config, self.samples = config, train
        size, count = config.data.batch_size, config.data.bucket_count
        # Buckets of both parts together, so that the two share their sizes.
        sizes = np.concatenate([sizes_of(train), sizes_of(validation)])
        buckets = make_buckets(sizes, size, count)
        self.buckets = _members(buckets, 0, len(train))
        plan = plan_epoch(self.buckets, size, config.seed, 0)
        self.steps_per_epoch = len(plan)

        model = build_model(config.model, layout.basis, layout.n_spins)
        optimizer = build_optimizer(config.optimizer, config.schedule, self.steps_per_epoch)
        first = collate([train[index] for index in plan[0][1]], plan[0][0])
        self.step = make_step(model, optimizer, config.loss, config.ema)
        self.state = initial_state(model, optimizer, first.graph, config.seed, config.ema)
        self.best = {metric: _copy(self.state.evaluated) for metric in BEST}
        self.validation = Validation(
            validation,
            _members(buckets, len(train), len(validation)),
            size,
            layout,
            jax.jit(model.apply),
            config.metrics,
            config.model.frame,
        )
        self.progress = Progress()
        self.checkpoints = Checkpoints(directory)
        found = self.checkpoints.restore(self._arrays())
        if found is not None:
            arrays, self.progress = found
            self.state, self.best = arrays["state"], arrays["best"]
            log.info("going on from epoch %d, step %d", self.progress.epoch, self.progress.step)
        now = time.monotonic()
        self._started = (now if started is None else started) - self.progress.elapsed
        self._saved = now
        self._reserve = 0.0

    def run(self) -> Outcome:
        """Train to the end.

        Returns:
            The best weights and how they came about.

        Raises:
            KeyboardInterrupt: asked to stop; a checkpoint was written.
            DataError: the loss is no longer finite.
        """
        with interruptible() as interrupt, self._display() as shown:
            while not self._finished():
                loss = self._epoch(interrupt)
                if loss is None:
                    break
                self._end_of_epoch(loss, shown)
        if not self.progress.done:
            self.progress.done = True
            self._save()
        self.checkpoints.close()
        metrics = self.validation.measure(self.best["hamiltonian"], eigenvalues=True)
        return Outcome(
            params=self.best,
            best=self.progress.best,
            history=self.progress.history,
            clock=self.progress.clock,
            metrics=metrics,
            n_parameters=sum(leaf.size for leaf in jax.tree.leaves(self.best["hamiltonian"])),
            steps=self.progress.step,
            seconds=self._elapsed(),
        )

    def _epoch(self, interrupt: Interrupt) -> float | None:
        """Do the steps of an epoch; return their mean loss, or None where time ran out at its start."""
        config, state = self.config, self.progress
        plan = plan_epoch(self.buckets, config.data.batch_size, config.seed, state.epoch)
        pending = None
        with contextlib.closing(prefetch(self._batch, plan[state.batch :])) as batches:
            for batch in batches:
                if self._part_done() >= 1.0:
                    break
                rate = learning_rate(
                    config.optimizer, config.schedule, state.step, self._part_done()
                )
                self.state, loss = self.step(self.state, batch, rate)
                state.step, state.batch = state.step + 1, state.batch + 1
                # One step behind: the next batch is made while the device works.
                state.loss_sum += 0.0 if pending is None else float(pending)
                pending = loss
                stop = interrupt.requested
                if stop or time.monotonic() - self._saved > config.checkpoint_interval:
                    state.loss_sum, pending = state.loss_sum + float(pending), None
                    self._save()
                if stop:
                    self.checkpoints.close()
                    raise KeyboardInterrupt
        state.loss_sum += 0.0 if pending is None else float(pending)
        if state.batch == 0:
            return None
        mean = state.loss_sum / state.batch
        if not math.isfinite(mean):
            raise DataError(
                f"the training loss became {mean} in epoch {state.epoch + 1}; "
                "set a lower optimizer.learning_rate or optimizer.clip and start anew"
            )
        return mean

    def _batch(self, planned: tuple[tuple[int, int, int], list[int]]) -> Batch:
        """Make a batch of the plan and put it on the device."""
        size, members = planned
        return jax.device_put(collate([self.samples[member] for member in members], size))

    def _end_of_epoch(self, loss: float, shown) -> None:
        """Measure, remember what is best, and count the epoch."""
        state, config = self.progress, self.config.metrics
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        # Not in the record, which is the same in each run from one seed.
        state.clock.append(round(self._elapsed(), 3))
        last = self._finished()
        interval = config.eigenvalue_interval
        eigenvalues = last or (interval is not None and state.epoch % interval == 0)
        record = {"epoch": float(state.epoch), "step": float(state.step), "loss": loss}
        record["learning_rate"] = plateau_scale(self.state.optimizer) * learning_rate(
            self.config.optimizer, self.config.schedule, state.step, self._part_done()
        )
        if eigenvalues or state.epoch % config.interval == 0:
            before = time.monotonic()
            record |= self.validation.measure(self.state.evaluated, eigenvalues)
            # What the end of the run takes: this once more, and writing the store.
            self._reserve = max(self._reserve, 1.5 * (time.monotonic() - before))
            self._remember(record)
        state.history.append(record)
        self._show(record, shown)

    def _remember(self, record: dict[str, float]) -> None:
        least = {"hamiltonian": self.config.early_stopping.min_delta, "eigenvalue": 0.0}
        for metric in BEST:
            value = record.get(metric, math.inf)
            best = self.progress.best.get(metric)
            if best is None or value < best["value"]:
                if not math.isfinite(value):
                    continue
                self.best[metric] = _copy(self.state.evaluated)
                improved = best is None or value < best["value"] - least[metric]
                self.progress.best[metric] = {
                    "value": value,
                    "epoch": record["epoch"],
                    "improved": record["epoch"] if improved else best["improved"],
                }

    def _finished(self) -> bool:
        state, patience = self.progress, self.config.early_stopping.patience
        if state.done or state.epoch >= self.config.epochs or self._part_done() >= 1.0:
            return True
        best = state.best.get("hamiltonian")
        return bool(patience and best and state.epoch - best["improved"] >= patience)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _part_done(self) -> float:
        """Part of the run that is done, by steps or by the clock, whichever ends first."""
        part = self.progress.step / (self.config.epochs * self.steps_per_epoch)
        if self.config.budget is None:
            return part
        return max(part, self._elapsed() / max(self.config.budget - self._reserve, 1e-9))

    def _arrays(self) -> dict[str, Any]:
        return {"state": self.state, "best": self.best}

    def _save(self) -> None:
        self.progress.elapsed = self._elapsed()
        self.checkpoints.save(self._arrays(), self.progress)
        self._saved = time.monotonic()

    @contextlib.contextmanager
    def _display(self):
        budget = self.config.budget
        total = self.config.epochs if budget is None else round(budget)
        self._plain = -math.inf
        unit = "epochs" if budget is None else "seconds"
        with progress(f"training ({unit})", total=total) as shown:
            yield shown

    def _show(self, record: dict[str, float], shown) -> None:
        done = self.progress.epoch if self.config.budget is None else round(self._elapsed())
        text = describe(record)
        shown.update(text)
        if done > shown.done:
            shown.advance(done - shown.done)
        now = time.monotonic()
        if not sys.stderr.isatty() and now - self._plain > _PLAIN_INTERVAL:
            self._plain = now
            log.info(text)


def describe(record: dict[str, float]) -> str:
    """Put a record of metrics into one line."""
    text = (
        f"epoch {record['epoch']:.0f}  loss {record['loss']:.4f}  lr {record['learning_rate']:.1e}"
    )
    if "hamiltonian" in record:
        text += (
            f"  H MAE {record['hamiltonian']:.3f} meV (pairs {record['pairs']:.3f}, "
            f"on-site {record['onsite']:.3f})"
        )
    if "eigenvalue" in record:
        text += (
            f"  eigenvalues {record['eigenvalue']:.1f} meV  E_F {record['fermi']:.1f} meV  "
            f"ghosts {record['ghosts']:.0f}"
        )
    return text


def _members(buckets: Sequence[Bucket], start: int, count: int) -> list[Bucket]:
    """Keep the samples from ``start`` on, and count them from there."""
    kept = [
        Bucket(bucket.size, tuple(m - start for m in bucket.members if start <= m < start + count))
        for bucket in buckets
    ]
    return [bucket for bucket in kept if bucket.members]


def _copy(params: Any) -> Any:
    """Copy weights to the host: the step reuses their memory."""
    return jax.tree.map(lambda weights: np.array(weights, copy=True), params)
