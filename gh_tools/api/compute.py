"""Where H and S come from: a trained model, or GPAW."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from gh_tools.api.matrices import Matrices
from gh_tools.api.stores import Opened
from gh_tools.errors import DataError
from gh_tools.store.read import Store
from gh_tools.store.structures import CHARGE, Structures
from gh_tools.trained_model.shipped import open_model

if TYPE_CHECKING:
    from gh_tools.trained_model.domain import Domain


class Model(Opened):
    """A trained model. Called with atoms, it predicts H and computes S.

    Args:
        model: the store, its path, or the name of a model that comes with gh-tools, such as "wse2"; see `gh_tools.models`.
        error_bars: whether to predict uncertainties, too; by default those of an ensemble of whole networks alone.
    """

    def __init__(self, model: Store | Path | str, error_bars: bool | None = None):
        self._error_bars = error_bars
        super().__init__(model if isinstance(model, Store) else open_model(model))

    def __repr__(self) -> str:
        from gh_tools.training.model_summary import render_model, summarize_model

        return render_model(summarize_model(self._store))

    @cached_property
    def domain(self) -> Domain | None:
        """What it was trained on; ``domain.departures(atoms)`` says where a structure leaves it.

        None of a model of an earlier version, which does not tell.
        """
        from gh_tools.trained_model.outside import read_domain, warn_unknown

        found = read_domain(self._store)
        if found is None:
            warn_unknown(self._store)
        return found

    @cached_property
    def _predictor(self) -> Any:
        from gh_tools.inference.predict import Predictor
        from gh_tools.trained_model.store import load_model

        return Predictor(load_model(self._store), self._error_bars)

    def __call__(self, atoms: ase.Atoms) -> Matrices:
        """Predict a structure.

        Args:
            atoms: the structure; lengths in Å. ``atoms.info["charge"]`` is its charge in |e|; without it, that of the
                labels that the model was trained with.

        Returns:
            H(R) in eV and S(R), in single precision as `gh-infer` stores them.

        Raises:
            DataError: the structure cannot be computed, the model does not know an element of it, its charge is not
                known, or its energies would count from another zero of the potential than those of the labels.
        """
        from gh_tools.inference.checks import charged_like
        from gh_tools.inference.structure import predict_structure
        from gh_tools.overlap.source import overlap_source
        from gh_tools.store.structures import check_structure
        from gh_tools.trained_model.departures import departures_in_environment
        from gh_tools.trained_model.outside import check_zero, warn_of, warn_outside

        check_structure(atoms, atoms.get_chemical_formula())
        basis = self._predictor.basis
        basis.check_covers(atoms.numbers, atoms.get_chemical_formula())
        if self.domain is not None:
            check_zero(self._store, self.domain, _single(atoms))
            warn_outside(self.domain, _single(atoms))
        charge = float(charged_like(self._store, _single(atoms)).charges[0])
        overlap = overlap_source(basis, atoms.numbers)
        blocks = predict_structure(self._predictor, atoms, charge, overlap)
        if self.domain is not None and (scores := blocks.out_of_domain) is not None:
            if told := list(departures_in_environment(blocks.atoms, scores)):
                warn_of({_single(atoms).names[0]: told})
        return Matrices(blocks, str(atoms.info.get("name", "")))


def _single(atoms: ase.Atoms) -> Structures:
    """Return one structure with its charge, if ``info`` tells it."""
    formula = atoms.get_chemical_formula()
    found = Structures([atoms], [str(atoms.info.get("name", formula))], source="atoms")
    if CHARGE not in atoms.info:
        return found
    try:
        return found.with_charges(np.array([float(atoms.info[CHARGE])]))
    except (TypeError, ValueError):
        raise DataError(
            f"{formula}: info[{CHARGE!r}]: expected a charge in |e|, found {atoms.info[CHARGE]!r}; give a number"
        ) from None


def label(
    atoms: ase.Atoms,
    text: Path | str = "/dev/null",
    start: Matrices | None = None,
    **settings: Any,
) -> Matrices:
    """Compute H(R) and S(R) of a structure with GPAW.

    Args:
        atoms: the structure; lengths in Å. ``atoms.info["charge"]`` is its charge in |e|, if it has any.
        text: file for GPAW's own text.
        start: H and S of the structure, such as those that a model predicts, in the same basis: the self-consistent cycle begins
            from their density instead of from that of free atoms.
        **settings: keys of the configuration of `gh-label`, such as ``kpts=(3, 3, 1), setups={"W": "6"}``.

    Returns:
        The labels; ``scalars`` hold ``fermi_level`` and ``energy`` in eV, and more.

    Raises:
        DataError: the structure cannot be computed, the calculation did not converge, or H and S are those of another structure,
            basis or number of spin channels.
    """
    from gh_tools.dft import scf
    from gh_tools.dft.basis_sets import basis_table
    from gh_tools.dft.charged import charged
    from gh_tools.dft.config import LabelConfig
    from gh_tools.store.structures import check_structure

    check_structure(atoms, atoms.get_chemical_formula())
    config = LabelConfig(**settings)
    basis = basis_table(config, atoms.numbers)
    charge = float(charged(_single(atoms), config.charge, basis).charges[0])
    config = config.model_copy(update={"charge": charge})
    known = None if start is None else start.blocks
    blocks = scf.label_structure(atoms, config, basis, text, known)
    if blocks is None:
        raise DataError("under MPI only the first process gets labels; use gh-label there")
    return Matrices(blocks, str(atoms.info.get("name", "")))
