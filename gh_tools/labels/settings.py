"""Whether labels of several stores are of one Hamiltonian: the settings that they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.store.hamiltonians import HamiltonianReader

# What decides how exact labels are; all else makes another Hamiltonian.
_NUMERICAL = ("h", "kpoint_density", "kpts_shift", "smearing", "density")


def check_settings(readers: Sequence[HamiltonianReader]) -> None:
    """Make sure that stores of labels are of one functional, and warn where they were made less and more exactly.

    Basis sets, setups and Hubbard terms are compared as the basis, and spins by their number. Stores that do not tell
    their settings, as those of other programs, are passed over.

    Args:
        readers: of the stores.

    Raises:
        DataError: two of them are of different functionals.
    """
    known = [
        (str(r.store.path), r.attributes["label"]) for r in readers if r.attributes.get("label")
    ]
    for path, settings in known[1:]:  # all of them, before anything is warned of
        first, expected = known[0]
        if settings.get("xc") != expected.get("xc"):
            raise DataError(
                f"{path}: expected labels of {expected.get('xc')} as in {first}, found {settings.get('xc')}: Hamiltonians of "
                "two functionals differ by a function that no model can tell from structures; train a model for each"
            )
    for path, settings in known[1:]:
        first, expected = known[0]
        found, wanted = _numerical(settings), _numerical(expected)
        differences = [
            f"{key} {wanted[key]:g} and {found[key]:g}"
            for key in _NUMERICAL
            if key in found and key in wanted and found[key] != wanted[key]
        ]
        if differences:
            log.warning(
                "%s and %s were not labelled alike: %s; a model meets the difference as noise (gh-label --convergence tells how "
                "large it is)",
                *(first, path, ", ".join(differences)),
            )
            return


def _numerical(settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that decide how exact labels are, those of the k-points only where the cell chooses them."""
    found = {**settings, **settings.get("convergence", {})}
    if found.get("kpts"):
        found.pop("kpoint_density", None)
    return {key: float(found[key]) for key in _NUMERICAL if found.get(key) is not None}
