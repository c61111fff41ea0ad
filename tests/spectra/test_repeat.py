"""H and S of repeated cells."""

import ase
import numpy as np
import pytest

from gh_tools.orbitals.pairs import wrapped
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.repeat import repeated_along


@pytest.mark.parametrize("count", [2, 3])
def test_a_repeated_cell_has_the_states_of_the_k_points_that_fold(spectra_system, count):
    """Hafnium has more orbitals than oxygen, so that blocks between them are not square."""
    chain = ase.Atoms(
        "Hf2O2",
        [[0, 0, 0], [3.4, 0.2, 0], [1.7, 0.9, 0.4], [5.1, -1.0, 0.2]],
        cell=[6.8, 14, 14],
        pbc=[True, False, False],
    )
    table = spectra_system.basis()
    assert len(set(table.n_orbitals(np.array([8, 72])))) == 2
    one = spectra_system.extended_hueckel(wrapped(chain), table)
    points = np.zeros((count, 3))
    points[:, 0] = np.arange(count) / count
    folded = solve(one, KPoints(points, np.full(count, 1 / count)), projected=False).energies
    large = solve(
        repeated_along(one, 0, count), KPoints(np.zeros((1, 3)), np.ones(1)), projected=False
    ).energies
    # Rounding, of a basis whose overlap matrix is far from singular.
    np.testing.assert_allclose(large.ravel(), np.sort(folded.ravel()), atol=1e-8)
