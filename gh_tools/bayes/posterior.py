"""Posteriors in stores that ArviZ opens too."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gh_tools.bayes.priors import Prior
from gh_tools.bayes.summary import Estimate
from gh_tools.store.io import write_with
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store

if TYPE_CHECKING:
    import xarray
    import zarr


def write_posterior(
    path: Path | str,
    groups: Mapping[str, xarray.Dataset],
    *,
    formula: str,
    estimates: Sequence[Estimate],
    probability: float,
    priors: Mapping[str, Prior],
    faults: Sequence[str],
    provenance: Provenance,
    overwrite: bool = False,
) -> Path:
    """Write a store of kind ``posterior``.

    Each group is an xarray dataset as in ArviZ's InferenceData schema, so that `arviz.from_zarr`
    (ArviZ 1) or `xarray.open_datatree` opens it. The summary stands in the root attributes.

    Args:
        path: where it will appear.
        groups: from `sample_posterior`.
        formula: the model.
        estimates: the summary.
        probability: of its highest-density intervals.
        priors: in the user's units.
        faults: why the sampling may not be trusted.
        provenance: how it was made.
        overwrite: replace a store that is there.
    """

    def fill(root: zarr.Group) -> None:
        for name, dataset in groups.items():
            # Consolidated metadata is no part of Zarr 3.
            dataset.to_zarr(root.store, group=name, mode="a", consolidated=False, zarr_format=3)

    attributes: dict[str, Any] = {
        "formula": formula,
        "hdi_probability": probability,
        "summary": {estimate.name: estimate.as_dict() for estimate in estimates},
        "priors": {name: str(prior) for name, prior in priors.items()},
        "faults": list(faults),
    }
    return write_with(path, "posterior", fill, provenance, attributes, overwrite)


def read_posterior(path: Path | str) -> xarray.DataTree:
    """Open a store of kind ``posterior`` as ArviZ 1 does.

    ArviZ 0.2x takes ``arviz.InferenceData.from_datatree`` of it.

    Raises:
        NoInputError: there is no such store.
        DataError: it is broken or of another kind.
    """
    import xarray

    store = open_store(path, "posterior")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return xarray.open_datatree(store.path, engine="zarr", consolidated=False)
