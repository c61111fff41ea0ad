"""S of new structures from functions that were fitted to the S of others."""

import numpy as np
import pytest

from gh_tools.dft.overlap import Overlap
from gh_tools.errors import DataError
from gh_tools.orbitals.basis import Basis, ElementBasis
from gh_tools.overlap.fit import fit_overlap
from gh_tools.overlap.functions import FittedOverlap
from gh_tools.overlap.source import overlap_source
from tests.overlap.gaussians import gaussian_label, gaussian_overlap, silicon


@pytest.fixture(scope="module")
def fitted():
    labels = [gaussian_label(silicon(seed=seed)) for seed in range(6)]
    fit = fit_overlap(labels[0].basis, labels)
    return Basis(labels[0].basis.elements, fit.arrays), fit


def test_s_of_new_pairs_is_that_of_the_integrals(fitted):
    """In closed form, in all directions: signs and orders come from the formula, not from the fit."""
    basis, fit = fitted
    assert fit.deviation < 1e-12
    assert fit.held_out < 1e-5
    source = overlap_source(basis, [14])
    assert isinstance(source, FittedOverlap)
    random = np.random.default_rng(5)
    vector = random.normal(size=(400, 3))
    vector *= (random.uniform(2.2, 5.5, 400) / np.linalg.norm(vector, axis=1))[:, None]
    inside = source._pairs[14, 14].is_covered(np.linalg.norm(vector, axis=1))
    assert inside.mean() > 0.5
    difference = np.abs(source.blocks((14, 14), vector) - gaussian_overlap(vector))
    assert difference[inside].max() < 1e-5


def test_a_whole_structure_is_that_of_its_labels(fitted):
    basis, _ = fitted
    label = gaussian_label(silicon((2, 1, 1), seed=11))
    bonds = label.pairs[14, 14]
    onsite, pairs = overlap_source(basis, [14])(
        label.atoms, {(14, 14): (bonds.i, bonds.j, bonds.cell_offset)}
    )
    np.testing.assert_allclose(onsite[14], label.onsite[14].overlap, atol=1e-12)
    assert np.abs(pairs[14, 14] - bonds.overlap).max() < 1e-4


def test_the_table_travels_through_arrays(fitted):
    basis, _ = fitted
    again = Basis.from_arrays(basis.to_arrays())
    assert again.overlap.keys() == basis.overlap.keys()
    for name, array in basis.overlap.items():
        np.testing.assert_array_equal(array, again.overlap[name])


def test_what_is_not_of_two_centre_form_is_refused(tiny_labels):
    """The PAW correction of GPAW's S depends on third atoms."""
    from gh_tools.store.hamiltonians import HamiltonianReader

    label = HamiltonianReader(tiny_labels).read(0)
    with pytest.raises(DataError, match=r"not of two-centre form.*PAW"):
        fit_overlap(label.basis, [label])


def test_distances_outside_of_the_data_are_told(fitted):
    basis, _ = fitted
    source = overlap_source(basis, [14])
    cutoffs = {(14, 14): 5.8}
    dense = silicon(rattle=0.0)
    dense.set_cell(dense.cell.array * 0.85, scale_atoms=True)
    found = list(source.uncovered([dense], cutoffs))
    assert len(found) == 1 and found[0].distances[0] == pytest.approx(0.85 * 2.35, rel=0.05)
    bond = found[0].distances[0] * np.ones((1, 3)) / np.sqrt(3)
    assert found[0].largest == pytest.approx(np.abs(gaussian_overlap(bond)).max(), rel=0.2)


def test_who_computes_s_is_told_by_the_table(fitted):
    basis, _ = fitted
    bare = Basis(basis.elements)
    with pytest.raises(DataError, match=r"those of a program.*gh-fit-scaleshift"):
        overlap_source(bare, [14])
    with pytest.raises(DataError, match="no basis is known for C"):
        overlap_source(basis, [6, 14])
    # of GPAW
    assert ElementBasis(14, (), 4.0).code == "" and callable(Overlap)
