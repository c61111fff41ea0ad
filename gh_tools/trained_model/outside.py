"""Structures that are to be predicted, compared with what the model was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.labels.periodicity import NAMES, counts_from_vacuum, n_periodic
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures, read_structures
from gh_tools.trained_model.departures import Departure, departures_in_environment
from gh_tools.trained_model.domain import Domain


def read_domain(model: Store) -> Domain | None:
    """Return what a model was trained on, or None where its store, of an earlier version, does not tell.

    Args:
        model: the model store. One that holds no domain, but its structures, is as good, unless it was fine-tuned:
            it lacks those of its parent.
    """
    if "domain/elements/number" in model:
        return Domain.from_arrays(model)
    if tells_all(model):
        return Domain.of(read_structures(model).select(model["split/train"]).atoms)
    return None


def tells_all(model: Store) -> bool:
    """Tell whether a model's store holds all structures that it was trained on: one that was fine-tuned lacks its parent's."""
    runs = [entry for entry in model.history if entry["program"] == "gh-train"]
    return "structures/name" in model and len(runs) == 1


def check_zero(model: Store, domain: Domain, structures: Structures) -> None:
    """Make sure that energies of structures count from the zero of the potential that a model learned.

    Args:
        model: the model store, for the message.
        domain: of the model.
        structures: to be predicted.

    Raises:
        DataError: one is a bulk crystal and training had none, or the reverse.
    """
    zeros = {counts_from_vacuum(kind) for kind in domain.kinds}
    for name, atoms in zip(structures.names, structures.atoms, strict=True):
        kind = n_periodic(atoms)
        if counts_from_vacuum(kind) not in zeros:
            had = " and ".join(NAMES[k][1] for k in sorted(domain.kinds))
            raise DataError(
                f"{structures.source}: {name} is a {NAMES[kind][0]}, but {model.path} was trained on {had}: energies of "
                "bulk crystals count from the cell's mean potential, all others from the vacuum, so that a prediction "
                "would be off by eV; mend the structure's periodicity (--set pbc=... in gh-build), or train a model "
                "for its kind"
            )


def warn_without_environments(model: Store) -> None:
    """Say that a model has no environments of its training set."""
    log.warning(
        "%s: does not tell the environments of its training set, being made by an earlier version or of too few "
        "structures: there are no out-of-domain scores; train it anew for them",
        model.path,
    )


def warn_unknown(model: Store) -> None:
    """Say that a model does not tell what it was trained on.

    Args:
        model: the model store.
    """
    log.warning(
        "%s: does not tell what it was trained on, being made by an earlier version: structures unlike that are not "
        "warned of",
        model.path,
    )


def warn_outside(domain: Domain, structures: Structures) -> dict[str, list[Departure]]:
    """Warn of structures that leave what a model was trained on.

    Args:
        domain: of the model.
        structures: to be predicted.

    Returns:
        The departures of each structure that has some, by name.
    """
    found = {
        name: departures
        for name, atoms in zip(structures.names, structures.atoms, strict=True)
        if (departures := domain.departures(atoms))
    }
    warn_of(found)
    return found


def environments_outside(predicted: Store) -> dict[str, list[Departure]]:
    """Return in which structures of a store of predictions environments are unlike any of training, by name.

    Args:
        predicted: the store; nothing is found in one without scores.
    """
    if "scalar/out_of_domain" not in predicted:
        return {}
    structures = read_structures(predicted)
    outside = np.flatnonzero(predicted["scalar/out_of_domain"] > 1.0)
    return {
        structures.names[index]: list(
            departures_in_environment(structures.atoms[index], atom_scores(predicted, index))
        )
        for index in outside.tolist()
    }


def atom_scores(predicted: Store, index: int) -> Float[np.ndarray, " atoms"]:
    """Return how far the environment of each atom of a structure is from those of the training set.

    Args:
        predicted: store of predictions that has ``scalar/out_of_domain``.
        index: of the structure.
    """
    first, end = predicted["structures/atom_ptr"][index : index + 2].tolist()
    scores = np.zeros(end - first)
    for key in predicted.keys("onsite/"):
        group, name = key.rsplit("/", 1)
        if name == "out_of_domain":
            start, stop = predicted[f"{group}/ptr"][index : index + 2].tolist()
            rows = slice(start, stop)
            scores[predicted.read(f"{group}/atom", rows)] = predicted.read(key, rows)
    return scores


def warn_of(found: Mapping[str, Sequence[Departure]], most: int = 5) -> None:
    """Warn of structures unlike the training set.

    Args:
        found: departures by the structures' names.
        most: structures that are told one by one.
    """
    for name in list(found)[:most]:
        log.warning(
            "%s: is unlike the training set: %s", name, "; ".join(d.text for d in found[name])
        )
    if len(found) > most:
        others = list(found.values())[most:]
        whats = Counter(what for some in others for what in {departure.what for departure in some})
        log.warning(
            "%d more structures are unlike the training set: %s",
            len(found) - most,
            ", ".join(f"{count} by {what}" for what, count in sorted(whats.items())),
        )
