"""The training loop: epochs, validation, checkpoints, and when to stop."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gh_tools.console import log
from gh_tools.errors import DataError, UsageError
from gh_tools.evaluation.matrix_errors import HamiltonianErrors, hamiltonian_errors
from gh_tools.model.build import build_model
from gh_tools.model.ensemble import vectorised_over_members
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.trained_model.runtime import compiler_options
from gh_tools.training.checkpoints import Checkpoints, RunState
from gh_tools.training.config import TrainConfig
from gh_tools.training.data.batches import (
    Bucket,
    collate,
    make_buckets,
    n_pair_types_of,
    plan_epoch,
    sizes_of,
)
from gh_tools.training.data.prefetch import prefetch
from gh_tools.training.data.samples import LabelledSample, Sample
from gh_tools.training.device_batches import DeviceBatches
from gh_tools.training.devices import Devices
from gh_tools.training.display import Display, display
from gh_tools.training.interrupt import Interrupt, interruptible
from gh_tools.training.objective.validation import Validation
from gh_tools.training.optimizers import build_optimizer, learning_rate, plateau_scale
from gh_tools.training.outcome import Outcome
from gh_tools.training.pace import Pace
from gh_tools.training.shallow import ShallowEnsemble, shallow_ensemble
from gh_tools.training.step import fresh_state, initial_state, make_step
from gh_tools.training.weights import Weights, load_weights

BEST = ("hamiltonian", "eigenvalue")
_NO_METRICS = {"epoch", "step", "loss", "learning_rate", "hamiltonian_train"}


class Training:
    """One run.

    Args:
        config: everything that decides it.
        layout: irreps of the basis.
        train: samples of the training set.
        validation: samples to choose the best weights by.
        directory: where checkpoints are kept; the run goes on from the last one that is there.
        started: ``time.monotonic()`` when the clock of the budget began.
        devices: that share a step.
        training_subset: the first samples of the training set, whose error is measured beside that of validation.
        weights: to start from; drawn if None.
    """

    def __init__(
        self,
        config: TrainConfig,
        layout: IrrepLayout,
        train: Sequence[Sample],
        validation: Sequence[LabelledSample],
        directory: Path,
        started: float | None = None,
        devices: Devices | None = None,
        training_subset: Sequence[LabelledSample] = (),
        weights: Any = None,
    ):
        self.config, self.samples = config, train
        self.devices = devices or Devices(config.data.batch_size)
        if config.loss.eigenvalues and self.devices.count > 1:
            raise UsageError(
                f"loss.eigenvalues is {config.loss.eigenvalues}, which one device can count, but {self.devices.count} "
                "share a step; set loss.eigenvalues = 0, or let the run see one device (CUDA_VISIBLE_DEVICES)"
            )
        size, count = self.devices.per_device, config.data.bucket_count
        # Buckets of both parts together, so that the two share their sizes.
        sizes = np.concatenate([sizes_of(train), sizes_of(validation)])
        buckets = make_buckets(sizes, size, count)
        self.buckets = _members(buckets, 0, len(train))
        plan = plan_epoch(self.buckets, config.data.batch_size, config.seed, 0)
        self.steps_per_epoch = len(plan)

        n_pair_types = size * max(
            n_pair_types_of(part) for part in (train, validation, training_subset)
        )
        self.model = model = build_model(config.model, layout.basis, layout.n_spins, n_pair_types)
        optimizer = build_optimizer(config.optimizer, config.schedule, self.steps_per_epoch)
        first = collate([train[index] for index in plan[0][1][:size]], plan[0][0])
        count = config.ensemble
        self.step = make_step(
            self.devices.distributed(model), optimizer, config.loss, config.ema, count
        )
        self.state = initial_state(model, optimizer, first.graph, config.seed, config.ema, count)
        if weights is not None:
            weights = Weights.of(load_weights(self.state.params.tree, weights), axes=int(count > 1))
            self.state = fresh_state(weights, optimizer, config.ema, count)
        self.best = {metric: self.state.evaluated.tree for metric in BEST}
        predict = jax.jit(
            vectorised_over_members(model.apply, count), compiler_options=compiler_options()
        )
        self.validation, self.training_subset = (
            Validation(part, members, size, layout, predict, config.metrics, config.model.frame)
            for part, members in (
                (validation, _members(buckets, len(train), len(validation))),
                (training_subset, _members(buckets, 0, len(training_subset))),
            )
        )
        self.progress = RunState()
        self.checkpoints = Checkpoints(directory)
        found = self.checkpoints.restore(self._arrays())
        if found is not None:
            arrays, self.progress = found
            self.state, self.best = arrays["state"], arrays["best"]
            log.info("going on from epoch %d, step %d", self.progress.epoch, self.progress.step)
        self.state = self.devices.replicate(self.state)
        self._batches = DeviceBatches(train, self.devices)
        self._saved = time.monotonic()
        self.pace = Pace(
            config,
            self.steps_per_epoch,
            (len(validation) + len(training_subset)) / len(train),
            (self._saved if started is None else started) - self.progress.elapsed,
            self.progress.reserve,
        )
        self._compiled = False

    def run(self) -> Outcome:
        """Train to the end.

        Returns:
            The best weights and how they came about.

        Raises:
            KeyboardInterrupt: asked to stop; a checkpoint was written.
            DataError: the loss is no longer finite.
        """
        with interruptible() as interrupt, display(self.pace) as shown:
            if not self.progress.history:
                self._end_of_epoch(None, shown)
            while not self._finished():
                loss = self._epoch(interrupt)
                if loss is None:
                    break
                self._end_of_epoch(loss, shown)
        if not self.progress.done:
            self.progress.done = True
            self._save()
        self.checkpoints.close()
        best = jax.device_put(self.best["hamiltonian"])
        last, epoch = self.progress.history[-1], self.progress.best["hamiltonian"]["epoch"]
        if last["epoch"] == epoch and "eigenvalue" in last:
            metrics = {name: value for name, value in last.items() if name not in _NO_METRICS}
        else:
            metrics = self.validation.measure(best, eigenvalues=True)
        predictions = (pair for _, *pair in self.validation.predictions(best))
        errors = sum(itertools.starmap(hamiltonian_errors, predictions), HamiltonianErrors())
        shallow = self._shallow_ensemble(best)
        calibration = None if shallow is None else shallow.calibration
        if self.config.ensemble > 1:
            calibration = self.validation.calibration(best)
        return Outcome(
            params=self.best,
            best=self.progress.best,
            history=self.progress.history,
            clock=self.progress.clock,
            metrics=metrics,
            errors=errors,
            calibration=calibration,
            last_layers={} if shallow is None else shallow.last_layers,
            posterior=None if shallow is None else shallow.posterior,
            n_parameters=sum(leaf.size for leaf in jax.tree.leaves(self.best["hamiltonian"])),
            steps=self.progress.step,
            seconds=self.pace.elapsed,
        )

    def _shallow_ensemble(self, best: Any) -> ShallowEnsemble | None:
        """Make the shallow ensemble, if there is to be one."""
        config = self.config
        if config.ensemble > 1 or config.last_layers == 0:
            return None
        size = self.devices.per_device
        plan = plan_epoch(self.buckets, size, config.seed, 0)
        batches = (
            collate([self.samples[member] for member in members], padded)
            for padded, members in plan
        )
        return shallow_ensemble(
            self.model, best, batches, len(plan), self.validation, config.last_layers, config.seed
        )

    def _epoch(self, interrupt: Interrupt) -> float | None:
        """Do the steps of an epoch; return their mean loss, or None where time ran out at its start."""
        config, state = self.config, self.progress
        plan = plan_epoch(self.buckets, config.data.batch_size, config.seed, state.epoch)
        pending = None
        with contextlib.closing(prefetch(self._batches, plan[state.batch :])) as batches:
            part, _, _ = self._pulse(interrupt)
            for batch in batches:
                if part >= 1.0:
                    break
                rate = learning_rate(config.optimizer, config.schedule, state.step, part)
                self.state, loss = self.step(self.state, batch, rate)
                state.step, state.batch = state.step + 1, state.batch + 1
                # One step behind: the next batch is made while the device works.
                state.loss_sum += 0.0 if pending is None else float(pending)
                pending = loss
                part, stop, save = self._pulse(interrupt)
                if stop or save:
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

    def _pulse(self, interrupt: Interrupt) -> tuple[float, bool, bool]:
        """Return what part of the run is done, and whether to stop or to keep a checkpoint after a step."""
        save = time.monotonic() - self._saved > self.config.checkpoint_interval
        now = np.array([self.pace.fraction_done(self.progress.step), interrupt.requested, save])
        part, stop, save = self.devices.agree(now)
        return float(part), bool(stop), bool(save)

    def _end_of_epoch(self, loss: float | None, shown: Display) -> None:
        """Measure, remember what is best, and count the epoch; a loss of None stands for before the first."""
        state = self.progress
        if loss is not None:
            state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        # Not in the record, which is the same in each run from one seed.
        state.clock.append(round(self.pace.elapsed, 3))
        part, due, last = self.devices.agree(
            np.array(
                [
                    self.pace.fraction_done(state.step),
                    self.pace.is_due(state.epoch),
                    self._finished(),
                ],
                dtype=float,
            )
        )
        record = {"epoch": float(state.epoch), "step": float(state.step)}
        if loss is not None:
            record["loss"] = loss
        record["learning_rate"] = plateau_scale(self.state.optimizer) * learning_rate(
            self.config.optimizer, self.config.schedule, state.step, part
        )
        if due or last or loss is None:
            record |= self._measure(bool(last) or loss is None)
            self._remember(record)
        state.history.append(record)
        shown.show(record)

    def _measure(self, always_eigenvalues: bool) -> dict[str, float]:
        """Measure the present weights, and learn what that takes."""
        state, weights = self.progress, jax.device_put(self.state.evaluated.tree)
        eigenvalues = always_eigenvalues or self.pace.eigenvalues_are_due(
            state.epoch, state.eigenvalue_epoch
        )
        if not self._compiled:
            # What compiling takes tells nothing about the measurements to come.
            self.validation.measure(weights, eigenvalues=False)
            self._compiled = True
        before = time.monotonic()
        metrics = self.validation.measure(weights, eigenvalues)
        if len(self.training_subset.samples):
            trained = self.training_subset.measure(weights, eigenvalues=False)
            metrics["hamiltonian_train"] = trained["hamiltonian"]
        if eigenvalues:
            state.eigenvalue_epoch = state.epoch
        self.pace.took(time.monotonic() - before, eigenvalues)
        state.reserve = self.pace.reserve
        # Rounding may differ between machines, and decides which weights are best.
        return dict(
            zip(metrics, self.devices.agree(np.array([*metrics.values()])).tolist(), strict=True)
        )

    def _remember(self, record: dict[str, float]) -> None:
        least = {"hamiltonian": self.config.early_stopping.min_delta, "eigenvalue": 0.0}
        for metric in BEST:
            value = record.get(metric, math.inf)
            best = self.progress.best.get(metric)
            if best is None or value < best["value"]:
                if not math.isfinite(value):
                    continue
                self.best[metric] = self.state.evaluated.tree
                improved = best is None or value < best["value"] - least[metric]
                self.progress.best[metric] = {
                    "value": value,
                    "epoch": record["epoch"],
                    "improved": record["epoch"] if best is None or improved else best["improved"],
                }

    def _finished(self) -> bool:
        state, patience = self.progress, self.config.early_stopping.patience
        part = self.pace.fraction_done(state.step)
        if state.done or state.epoch >= self.config.most_epochs or part >= 1.0:
            return True
        best = state.best.get("hamiltonian")
        return bool(patience and best and state.epoch - best["improved"] >= patience)

    def _arrays(self) -> dict[str, Any]:
        return {"state": _copy(self.state), "best": self.best}

    def _save(self) -> None:
        self.progress.elapsed = self.pace.elapsed
        self.checkpoints.save(self._arrays(), self.progress)
        self._saved = time.monotonic()


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
