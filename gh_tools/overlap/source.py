"""Which source of S a basis table has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import ase

from gh_tools.dft.conditioning import warn_if_poor
from gh_tools.dft.overlap import Overlap, OverlapSource
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, SpeciesPair
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.overlap.fit import fit_overlap, tell
from gh_tools.overlap.functions import FittedOverlap


def overlap_source(basis: Basis, numbers: Iterable[int]) -> OverlapSource:
    """Return what computes S of structures of some elements.

    Args:
        basis: the basis table, of GPAW or of another program.
        numbers: atomic numbers of the structures.

    Raises:
        DataError: an element is not in the table, its PAW setup is not this machine's, or the table is of another
            program and carries no functions of S.
    """
    numbers = [int(number) for number in numbers]
    basis.check_covers(numbers, "overlap")
    codes = sorted({basis[z].code for z in numbers} - {""})
    if not codes:
        return Overlap(basis, numbers)
    if not basis.overlap:
        raise DataError(
            f"S of new structures is not known: the orbitals are those of {', '.join(codes)}, and no functions of S "
            "were fitted to its matrices; gh-fit-scaleshift fits them where S is of two-centre form"
        )
    return FittedOverlap(basis, numbers)


def with_functions(basis: Basis, hamiltonians: Iterable[Hamiltonian]) -> Basis:
    """Return a basis table that knows S of new structures; of a program without PAW functions are fitted if it lacks them.

    Args:
        basis: the table.
        hamiltonians: labels with this basis, which are read where functions are to be fitted.

    Raises:
        DataError: S is not of two-centre form.
    """
    codes = sorted({element.code for element in basis.elements.values()} - {""})
    if not codes or basis.overlap:
        return basis
    fit = fit_overlap(basis, hamiltonians)
    tell(fit, codes)
    return replace(basis, overlap=fit.arrays)


def warn_of_overlap(
    source: OverlapSource,
    basis: Basis,
    cutoffs: Mapping[SpeciesPair, float],
    structures: Sequence[ase.Atoms],
) -> None:
    """Warn where orbitals are nearly dependent, and where S is extrapolated.

    Args:
        source: of S.
        basis: the basis table.
        cutoffs: distance in Å up to which each species pair has blocks.
        structures: to look at.
    """
    warn_if_poor(source, basis, cutoffs, structures)
    if isinstance(source, FittedOverlap):
        source.warn_uncovered(structures, cutoffs)
