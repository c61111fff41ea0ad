"""Is a model trained enough? Rules that read the learning curve, and the errors behind the average.

The rules, in the order in which they are asked; the first that holds is the verdict:

1. fewer than `LEAST_STEPS` steps, or `LEAST_MEASUREMENTS` measurements of trained weights: nothing can be said.
2. the lowest validation error of the first 90 % of the steps is more than `FALL` above the lowest of all:
   the error still fell when the run ended.
3. the last validation error is more than `RISE` above the lowest, which came before: the run overfits.
4. the validation error is more than `GAP` times the training error: the structures are too few.
5. else training and validation errors are alike: the run's length or the network's size limits them.

The training error is that of as many structures of the training set as validate, by the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from gh_tools.evaluation.matrix_errors import HamiltonianErrors
from gh_tools.store.read import Store
from gh_tools.units import MEV

LEAST_STEPS = 50  # those of the warm-up
LEAST_MEASUREMENTS = 8
TAIL = 0.1  # of the steps, at the end
# Validation with a few structures fluctuates by 1 or 2 % from one measurement to the next.
FALL = 0.05
RISE = 0.05
# Matrix elements of structures that were learned are always a little better than those of others.
GAP = 2.0

History = Mapping[str, Float[np.ndarray, " records"]]


@dataclass(frozen=True)
class Verdict:
    """What the learning curve says.

    Attributes:
        kind: ``unknown``, ``falling``, ``overfits``, ``few_structures`` or ``converged``.
        sentence: the same for a person, with the numbers that it rests on and what to do.
        fall: part by which the lowest validation error fell in the last tenth of the steps.
        rise: part by which the last validation error is above the lowest.
        gap: validation over training error of the stored weights.
        annealed: last learning rate over the highest.
    """

    kind: str
    sentence: str
    fall: float | None = None
    rise: float | None = None
    gap: float | None = None
    annealed: float | None = None


def judge(history: History) -> Verdict:
    """Apply the rules to a learning curve.

    Args:
        history: columns of a model store's history; NaN where a record lacks a metric.

    Returns:
        The verdict.
    """
    step = np.asarray(history.get("step", ()))
    error = np.asarray(history.get("hamiltonian", np.full(len(step), np.nan)))
    measured = np.isfinite(error) & (step > 0)
    step, error = step[measured], error[measured]
    if len(step) < LEAST_MEASUREMENTS:
        taken = int(step[-1]) if len(step) else 0
        number, of = (taken, "step") if taken < LEAST_STEPS else (len(step), "measurement")
        mend = (
            "train longer (compiling takes its part of a --budget)"
            if taken < LEAST_STEPS
            else f"{LEAST_MEASUREMENTS} are needed: train longer, or lower metrics.interval"
        )
        sentence = f"{number} {of}{' is' if number == 1 else 's are'} too few to judge by; {mend}"
        return Verdict("unknown", sentence)
    best = int(np.argmin(error))
    before = error[step <= (1.0 - TAIL) * step[-1]]
    fall = float(1.0 - error[best] / before.min()) if len(before) else 1.0
    fall = max(fall, 0.0)
    rise = float(error[-1] / error[best] - 1.0)
    train = np.asarray(history.get("hamiltonian_train", np.full(measured.shape, np.nan)))[measured]
    gap = float(error[best] / train[best]) if np.isfinite(train[best]) else None
    rate = np.asarray(history["learning_rate"])
    annealed = float(rate[measured][-1] / np.nanmax(rate))

    if fall > FALL:
        kind = "falling"
        sentence = f"the validation error still fell by {fall:.0%} in the last tenth of the steps: train longer"
    elif rise > RISE:
        kind = "overfits"
        sentence = (
            f"the validation error was lowest at {step[best] / step[-1]:.0%} of the steps and has risen "
            f"by {rise:.0%} since: more structures would help, more steps would not"
        )
    elif gap is not None and gap > GAP:
        kind = "few_structures"
        sentence = (
            f"the validation error is {gap:.1f} times the training error: more structures would help "
            "more than more steps"
        )
    else:
        kind = "converged"
        alike = "" if gap is None else f"is {gap:.1f} times the training error and "
        sentence = (
            f"the validation error {alike}fell by only {fall:.0%} in the last tenth of the steps: "
            + (
                "the schedule has ended, so only a longer run, or then a larger network, "
                "would lower it"
                if annealed < 0.1
                else "let the learning rate fall (schedule.name = 'cosine'), or try a larger network"
            )
        )
    return Verdict(kind, sentence, fall, rise, gap, annealed)


def error_table(errors: HamiltonianErrors) -> dict[str, dict[str, float]]:
    """Give mean absolute errors by elements and by distance.

    Args:
        errors: of the matrix elements, summed over structures.

    Returns:
        In meV: ``by_species_pair`` (on-site blocks under the element's symbol) and ``by_distance`` (of
        pairs; in Å, rounded down).
    """
    symbols = chemical_symbols
    by_pair = {symbols[z]: part for z, part in errors.onsite.items()}
    by_pair |= {f"{symbols[zi]}-{symbols[zj]}": part for (zi, zj), part in errors.pairs.items()}
    return {
        "by_species_pair": {name: MEV * part.mae for name, part in by_pair.items() if part.count},
        "by_distance": {str(r): MEV * part.mae for r, part in errors.distance.items()},
    }


def history_of(store: Store) -> dict[str, Float[np.ndarray, " records"]]:
    """Read a model's learning curve, with the wall-clock ``seconds`` of each record where known."""
    columns = {key.removeprefix("history/"): store[key] for key in store.keys("history/")}
    clock = store.history[-1].get("notes", {}).get("clock") if store.history else None
    if clock and "step" in columns:
        columns["seconds"] = np.interp(columns["step"], *np.transpose(clock))
    return columns


def thin_clock(
    history: list[dict[str, float]], clock: list[float], most: int = 100
) -> list[list[float]]:
    """Keep so much of the clock that the time of each step can be interpolated.

    Args:
        history: records, which know their step.
        clock: seconds at which each of them began.
        most: entries to keep.

    Returns:
        Steps and seconds.
    """
    kept = np.unique(np.linspace(0, len(history) - 1, min(most, len(history))).astype(int))
    return [[history[index]["step"], clock[index]] for index in kept]


def summarize_training(store: Store) -> dict[str, Any]:
    """Report on a model.

    Args:
        store: of kind ``model``.

    Returns:
        JSON-like: ``verdict``, ``validation`` (metrics of the stored weights), ``errors`` (as
        :func:`error_table`) and ``learning_curve`` (columns; None where a record lacks a metric).
    """
    history = history_of(store)
    attributes = store.attributes
    measured = np.isfinite(history.get("hamiltonian", np.zeros(0)))
    return {
        "verdict": asdict(judge(history)),
        "validation": attributes.get("validation", {}),
        "errors": attributes.get("errors", {}),
        "learning_curve": {
            name: [float(x) if np.isfinite(x) else None for x in values[measured]]
            for name, values in history.items()
        },
    }
