"""Charged structures: whose charge it is, what GPAW can do, and a mistake of GPAW's that is put right."""

from __future__ import annotations

from math import pi
from typing import Any

import ase
import numpy as np

from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis
from gh_tools.store.identity import CHARGE_TOLERANCE
from gh_tools.store.structures import CHARGE, Structures


def charged(structures: Structures, given: float | None, basis: Basis) -> Structures:
    """Give each structure the charge that it is to be labelled with.

    Args:
        structures: what to label; a column ``charge`` tells the charge of each in |e|.
        given: one charge for all of them, from the configuration; None leaves it to the column, and
            without one the structures are neutral.
        basis: the basis table; covers the elements.

    Returns:
        The same structures with a column ``charge``.

    Raises:
        DataError: the two contradict each other, the column lacks a structure, or see `check_charge`.
    """
    if given is None:
        charges = structures.charges
    else:
        charges = np.full(len(structures), given)
        values = structures.columns[CHARGE].values if CHARGE in structures.columns else charges
        for index in np.flatnonzero(abs(np.asarray(values) - given) > CHARGE_TOLERANCE):
            raise DataError(
                f"{structures.source}: column/{CHARGE} says {values[index]:+g} for "
                f"{structures.names[index]!r}, but the configuration {given:+g}; leave charge out of the "
                "configuration, or build the structures without the column"
            )
    for atoms, charge, name in zip(structures.atoms, charges, structures.names, strict=True):
        check_charge(atoms, float(charge), basis, f"{structures.source}: {name}")
    return structures.with_charges(charges)


def check_charge(atoms: ase.Atoms, charge: float, basis: Basis, where: str) -> None:
    """Make sure that a structure can have a charge.

    The potential of a net charge in a plane or a line of cells diverges with the distance, so that eigenvalues
    would depend on the height of the box: there, GPAW and this refuse. Where all directions are periodic, a
    uniform background makes the cell neutral; in a molecule the potential vanishes far away.

    Args:
        atoms: the structure.
        charge: in |e|.
        basis: the basis table; covers the elements.
        where: what is named in the error.

    Raises:
        DataError: there are no electrons left, or no orbitals for them, or some directions only are periodic.
    """
    neutral = basis.n_electrons(atoms.numbers)
    capacity = 2 * int(basis.n_orbitals(atoms.numbers).sum())
    if not 0 < neutral - charge <= capacity:
        raise DataError(
            f"{where}: charge {charge:+g} leaves {neutral - charge:g} of its {neutral:g} valence electrons, "
            f"where the basis has room for more than 0 and up to {capacity}; give it another charge"
        )
    if charge and atoms.pbc.any() and not atoms.pbc.all():
        letters = "".join("FT"[int(p)] for p in atoms.pbc)
        raise DataError(
            f"{where}: charge {charge:+g} in a structure that is periodic in some directions only "
            f"(pbc {letters}), where its potential has no limit far away; make it periodic in all "
            "directions, which adds a uniform background, or in none"
        )


def count_charge_in_density() -> None:
    """Make GPAW scale the pseudo-density of a charged system to the electrons that it has.

    Basis functions may reach beyond the box, so that GPAW scales the pseudo-density in each step. In the new
    interface of version 25.7.0 it scales it to that of the neutral system, so that the potential of
    exchange and correlation belongs to another number of electrons: eigenvalues of OH- are off by 0.7 eV and its
    energy by 17 eV, also from those of GPAW's old interface. This is that method with the charge:
    ∫ñ = -(4π)^½ Σ_a Q_a,00 - q; nothing changes where q = 0.
    """
    from gpaw.new.lcao.ibzwfs import LCAOIBZWaveFunctions

    methods: Any = LCAOIBZWaveFunctions  # types have no word for a method that is replaced
    methods.normalize_density = _normalize_density


def _normalize_density(waves, density) -> None:
    coefficients = density.calculate_compensation_charge_coefficients()
    compensation = (4 * pi) ** 0.5 * sum(float(of_atom[0]) for of_atom in coefficients.values())
    compensation = coefficients.layout.atomdist.comm.sum_scalar(compensation)
    pseudo = density.nt_sR.integrate().sum()
    density.nt_sR.data *= -(compensation + density.charge) / pseudo
