"""From label stores to a scale-shift store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gh_tools.console import log, track
from gh_tools.errors import DataError, UsageError
from gh_tools.evaluation.matrix_errors import HamiltonianErrors, hamiltonian_errors
from gh_tools.labels.labels import Labels, read_labels
from gh_tools.labels.split import PARTS, Split, make_split, read_split
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.bond_frame import FRAMES
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.overlap.fit import fit_attributes, fit_overlap, tell
from gh_tools.scaleshift.fit_terms import fit_scaleshift
from gh_tools.scaleshift.scaleshift import shift_only
from gh_tools.store.io import write_arrays
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import column_attributes, structure_arrays
from gh_tools.units import MEV

# What the shift explains is measured on at most so many structures: a mean over all their elements moves by
# well under a per cent with more.
MEASURED = 20


def choose_split(labels: Labels, file: Path | None, fractions: str, seed: int) -> Split:
    """Read the split, or draw one; copies of a structure never stand in two parts.

    Args:
        labels: what is divided.
        file: a JSON file, or None.
        fractions: of training, validation and test set where there is no file, as in "0.8,0.1,0.1".
        seed: of the drawing.

    Raises:
        UsageError: the fractions are not three numbers that can be used.
        DataError: the file puts copies of a structure into two parts, or see `read_split`.
    """
    if file is not None:
        split = read_split(file, labels.names)
        split.check_copies(labels.copies, labels.names, file)
        return split
    try:
        shares = tuple(float(share) for share in fractions.split(","))
    except ValueError:
        raise UsageError(
            f"--fractions {fractions}: expected three numbers, as in 0.8,0.1,0.1"
        ) from None
    copies = labels.copies
    split = make_split(len(np.unique(copies)), shares, seed)
    if len(split.train) + len(split.validation) + len(split.test) == len(copies):
        return split
    first = np.unique(copies, return_index=True)[1]
    copied = np.setdiff1d(np.arange(len(copies)), first)
    log.warning(
        "%d of %d structures are copies of others, such as %s of %s: copies go into one part of the split",
        *(len(copied), len(copies)),
        *(labels.names[copied[0]], labels.names[first[copies[copied[0]]]]),
    )
    return Split(*(np.flatnonzero(np.isin(copies, getattr(split, part))) for part in PARTS))


def fit_store(
    labels: Labels,
    split: Split,
    output: Path,
    provenance: Provenance,
    overwrite: bool = False,
    onsite_energies: bool = True,
) -> tuple[Path, dict[str, dict[str, float]]]:
    """Fit the scale-shift to the training set and write it.

    Args:
        labels: labelled structures.
        split: their parts.
        output: where the store will appear.
        provenance: how it is being made.
        overwrite: replace a store that is there.
        onsite_energies: whether to fit an on-site energy model first.

    Returns:
        The path, and for each part with structures the mean absolute error in meV of H given by the shift
        alone: ``all``, ``onsite``, ``pairs`` for pairs in the structure's axes, and ``pairs_bond_frame``
        for those in the frame of their bond; over at most 20 structures.

    Raises:
        CannotCreateError: something is at ``output``.
        DataError: the orbitals are no spherical harmonics.
    """
    for reader in labels.readers:
        if not reader.attributes.get("shells", True):
            raise DataError(
                f"{reader.store.path}: the functions of {reader.attributes.get('code')} are no spherical harmonics, so "
                "that nothing is known of how they rotate; spectra can be computed of them, but no model learns them"
            )
    basis, overlap = _with_overlap(labels, split)
    layout = IrrepLayout(basis, labels.n_spins)
    fitted = fit_scaleshift(labels.readers, split.train, layout, FRAMES, onsite_energies)
    explained = {}
    for part in PARTS:
        indices = getattr(split, part)[:MEASURED]
        if indices.size:
            errors = dict.fromkeys(FRAMES, HamiltonianErrors())
            hams = read_labels(labels.readers, indices)
            for ham in track(hams, f"measuring {part}", indices.size):
                for frame in FRAMES:
                    errors[frame] += hamiltonian_errors(shift_only(ham, layout, fitted[frame]), ham)
            means = {frame: errors[frame].means() for frame in FRAMES}
            explained[part] = {name: MEV * mae for name, mae in means["global"].items()}
            explained[part]["pairs_bond_frame"] = MEV * means["bond"]["pairs"]
    path = write_arrays(
        output,
        "scaleshift",
        {
            **basis.to_arrays(),
            **split.to_arrays(),
            **structure_arrays(labels.structures),
            **{key: array for frame in FRAMES for key, array in fitted[frame].to_arrays().items()},
        },
        provenance=provenance,
        array_attributes=column_attributes(labels.structures),
        attributes={
            "spins": labels.n_spins,
            "mae_of_shift_mev": explained,
            **({} if overlap is None else {"overlap": overlap}),
        },
        overwrite=overwrite,
    )
    return path, explained


def _with_overlap(labels: Labels, split: Split) -> tuple[Basis, Mapping[str, object] | None]:
    """Give a basis table of another program the functions of S, and return what is known of them.

    GPAW's basis needs none. Where S is not of two-centre form, the table stays without, and says so.
    """
    codes = sorted({element.code for element in labels.basis.elements.values()} - {""})
    if not codes:
        return labels.basis, None
    try:
        fit = fit_overlap(labels.basis, read_labels(labels.readers, split.train))
    except DataError as error:
        log.warning("%s; models of these labels predict no new structures", error)
        return labels.basis, {"refused": str(error)}
    tell(fit, codes)
    return replace(labels.basis, overlap=fit.arrays), fit_attributes(fit)
