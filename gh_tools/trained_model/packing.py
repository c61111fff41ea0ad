"""A trained model becomes one small file, for others to use: see `shipped` for who opens it."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Float

from gh_tools.outputs.publish import new_file
from gh_tools.store.hashes import stored_files
from gh_tools.store.io import fill_store, put
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import Store
from gh_tools.trained_model.shipped import ENDING
from gh_tools.trained_model.store import GRAMS, LAST_LAYERS

# What a prediction does not need: weights that are best by another metric, and the learning curve.
_LEFT_OUT = ("parameters_eigenvalue/", "history/")
# What error bars of a single network are made of.
_ERROR_BARS = ("last_layers/", "grams/", "calibration/", "scaleshift/onsite_energy/draws")
# Bits of the mantissa that are enough where numbers are distances to compare, or what draws differ by: 5e-4 and 2e-3 of them.
_BITS = {"domain/": 10, "scaleshift/onsite_energy/draws": 8}
# Zip files have no dates before: with one for all, the same model gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


def pack_model(
    store: Store,
    path: Path,
    card: Mapping[str, Any],
    provenance: Provenance,
    *,
    error_bars: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a model as one file.

    Left out are the learning curve, the weights that are best by eigenvalues, and last layers that can be drawn from Gram
    matrices; numbers of double precision become single, weights included, and some have fewer digits. Predictions move by
    rounding alone.

    Args:
        store: of the model.
        path: of the file, ``NAME.zip``; the model is called NAME.
        card: see `gh_tools.trained_model.card`.
        provenance: how it is packed. In the history that is written, paths of the machine become plain names.
        error_bars: whether a single network keeps what its error bars are made of, which is half of the file and more. Those of
            an ensemble of networks are of what it predicts with.
        overwrite: replace a file that is there.

    Raises:
        CannotCreateError: something is at ``path`` that is not to be replaced.
    """
    config = {**store.attributes["config"], "precision": "float32"}
    attributes = {**store.attributes, "config": config, "card": dict(card)}
    left_out: tuple[str, ...] = _LEFT_OUT
    readouts = {key.split("/")[1] for key in store.keys(f"{GRAMS}/")}
    left_out += tuple(f"{LAST_LAYERS}/{name}/" for name in sorted(readouts))
    if not error_bars and config.get("ensemble", 1) == 1:
        left_out += _ERROR_BARS
        for name in ("calibration", LAST_LAYERS):
            attributes.pop(name, None)
        attributes["card"]["members"] = {}

    def fill(group: zarr.Group) -> None:
        for key in store.keys():
            if key.startswith(left_out):
                continue
            values = store[key]
            # Cells decide which images are neighbours, and the basis table which labels belong to the model.
            exact = key == "structures/cell" or key.startswith("basis/")
            if values.dtype == np.float64 and not exact:
                values = values.astype(np.float32)
            for start, bits in _BITS.items():
                if key.startswith(start) and values.dtype == np.float32:
                    values = _rounded(values, bits)
            put(group, key, values, store.array_attributes(key))

    name = f"{path.stem}{ENDING}"
    with tempfile.TemporaryDirectory(prefix="gh-tools-") as folder:
        new = Path(folder) / name
        fill_store(new, path, "model", fill, provenance, attributes)
        root = zarr.open_group(new, mode="r+", zarr_format=3)
        root.attrs["history"] = [_nameless(entry) for entry in provenance.history(path)]
        with new_file(path, overwrite) as file, zipfile.ZipFile(file, "w") as archive:
            for key in stored_files(new):
                member = zipfile.ZipInfo(f"{name}/{key}", _DATE)
                member.external_attr = 0o644 << 16
                archive.writestr(member, (new / key).read_bytes(), zipfile.ZIP_DEFLATED, 9)


def _rounded(values: Float[np.ndarray, " *shape"], bits: int) -> Float[np.ndarray, " *shape"]:
    """Round to so many bits of mantissa: what is left of each number takes fewer bytes once compressed."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(values.dtype)


def _nameless(entry: Any) -> Any:
    """Return what a history tells, with plain names in the place of paths."""
    if isinstance(entry, Mapping):
        return {key: _nameless(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_nameless(value) for value in entry]
    if isinstance(entry, str) and "/" in entry and "//" not in entry and "\n" not in entry:
        return entry.rstrip("/").rsplit("/", 1)[-1]
    return entry
