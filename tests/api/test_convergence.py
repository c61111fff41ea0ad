"""What finer settings change, against labels made by hand at both settings and SciPy's eigenvalues."""

import ase
import numpy as np
import pytest
import scipy.linalg

import gh_tools as gh

COARSE = {"h": 0.3, "vacuum": 3.0}


def chain() -> ase.Atoms:
    """Molecules of hydrogen along a line, periodic in that direction alone."""
    return ase.Atoms("H2", [(0, 0, 0), (0, 0, 0.75)], cell=(0, 0, 1.8), pbc=(False, False, True))


@pytest.fixture(scope="module")
def changes():
    return {c.setting: c for c in gh.convergence(chain(), kpts=(1, 1, 2), **COARSE)}


def test_each_setting_is_made_finer_by_itself(changes):
    assert list(changes) == [
        "k-points 1x1x2 → 1x1x3",
        "h 0.3 → 0.24 Å",
        "convergence.density 0.0001 → 1e-05",
        "vacuum 3 → 6 Å",
    ]


def test_two_k_points_are_too_few_for_a_chain_of_molecules(changes):
    """Bands of more than 10 eV: what k-points change is far above what a tighter density does."""
    kpoints, _, density, _ = changes.values()
    assert kpoints.onsite > 0.01 > 10 * density.onsite
    assert abs(kpoints.band_gap) > 0.01 > 10 * abs(density.band_gap)


def test_changes_are_those_of_two_labels(changes):
    coarse, fine = (gh.label(chain(), kpts=(1, 1, 2), **{**COARSE, "h": h}) for h in (0.3, 0.24))
    change = changes["h 0.3 → 0.24 Å"]
    onsite = [labels.blocks.onsite[1].hamiltonian for labels in (coarse, fine)]
    assert change.onsite == pytest.approx(np.abs(onsite[0] - onsite[1]).mean(), rel=1e-6)

    def energies(labels, k):
        return scipy.linalg.eigvalsh(labels.H(k), labels.S(k))

    # Γ and the zone's edge, which the label had; one band is full, E_F in the gap above it.
    both = np.array([[energies(x, (0, 0, k)) for k in (0, 0.5)] for x in (coarse, fine)])
    gaps = [e[:, 1].min() - e[:, 0].max() for e in both]
    assert change.band_gap == pytest.approx(gaps[0] - gaps[1], abs=1e-3)
