"""Structures that are to be predicted, compared with what the model was trained on."""

from __future__ import annotations

from collections import Counter

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.labels.periodicity import NAMES, counts_from_vacuum, n_periodic
from gh_tools.store.read import Store
from gh_tools.store.structures import Structures, read_structures
from gh_tools.trained_model.departures import Departure
from gh_tools.trained_model.domain import Domain


def read_domain(model: Store) -> Domain | None:
    """Return what a model was trained on, or None where its store, of an earlier version, does not tell.

    Args:
        model: the model store. One that holds no domain, but its structures, is as good, unless it was fine-tuned:
            it lacks those of its parent.
    """
    if "domain/elements/number" in model:
        return Domain.from_arrays(model)
    parents = [entry for entry in model.history if entry["program"] == "gh-train"]
    if "structures/name" in model and len(parents) == 1:
        return Domain.of(read_structures(model).select(model["split/train"]).atoms)
    return None


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


def warn_outside(
    domain: Domain, structures: Structures, most: int = 5
) -> dict[str, list[Departure]]:
    """Warn of structures that leave what a model was trained on.

    Args:
        domain: of the model.
        structures: to be predicted.
        most: structures that are told one by one.

    Returns:
        The departures of each structure that has some, by name.
    """
    found = {
        name: departures
        for name, atoms in zip(structures.names, structures.atoms, strict=True)
        if (departures := domain.departures(atoms))
    }
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
    return found
