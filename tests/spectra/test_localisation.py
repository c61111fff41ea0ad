"""Which states are localised: an impurity of a chain in closed form, a vacancy, degenerate states."""

import ase
import numpy as np
import pytest

from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.groups import atom_names
from gh_tools.spectra.spectrum import compute_spectrum


def listed(hamiltonian, window, **settings):
    options = {"kpts": (1, 1, 1), "points": 50, "window": (-30, 30), "states": window, **settings}
    return compute_spectrum(hamiltonian, DosConfig(**options)).states


def test_an_impurity_of_a_chain_is_bound_as_in_theory(tight_binding):
    """U on one site of an infinite chain: E = √(4t² + U²), amplitudes e^(-κ|n|) with sinh κ = U/2t."""
    cells, t, u = 60, 1.0, 1.5
    atoms = ase.Atoms(
        f"H{cells - 1}He",
        positions=[[n, 0, 0] for n in range(cells)],
        cell=[cells, 10, 10],
        pbc=[True, False, False],
    )
    settings = {"kpts": (1, 1, 1), "points": 50, "window": (-5, 5), "states": (1.95, 4.0)}
    found = compute_spectrum(tight_binding(atoms, {1: 0.0, 2: u}, -t, 1.1), DosConfig(**settings))
    states, fermi = found.states, found.scalars["fermi_level"]
    kappa = np.arcsinh(u / (2 * t))
    row = int(np.argmin(states.sharing))
    assert states.energy[row] + fermi == pytest.approx(np.sqrt(4 * t**2 + u**2), abs=1e-9)
    # Σ c⁴ with c² = tanh κ e^(-2κ|n|) is tanh²κ coth 2κ.
    expected = np.tanh(kappa) ** 2 / np.tanh(2 * kappa)
    assert 1 / states.sharing[row] == pytest.approx(expected, rel=1e-9)
    assert atom_names(atoms.numbers)[states.atom[row, 0]] == "He59"
    assert states.weight[row, 0] == pytest.approx(np.tanh(kappa), rel=1e-9)
    assert states.electrons[row] == 0
    # Those of the band extend over the chain: 2/3 of it for standing waves.
    others = np.delete(states.sharing, row)
    assert np.all(others > cells / 2)


def test_a_vacancy_of_graphene_is_found(graphene, tight_binding):
    """A missing atom leaves one state at midgap on the other sublattice alone, next to the vacancy first (Lieb)."""
    whole = graphene((5, 5, 1), mass=0.0)
    atoms = whole.atoms
    missing = 24
    place = atoms.positions[missing].copy()
    del atoms[missing]
    # One electron an atom: the state at midgap is half filled, and E_F is in it.
    states = listed(tight_binding(atoms, {5: 0.0, 7: 0.0}, -2.7, 1.5), (-0.3, 0.3))
    row = int(np.argmin(abs(states.energy)))
    assert states.energy[row] == pytest.approx(0.0, abs=1e-9)
    assert states.electrons[row] == pytest.approx(1.0)
    apart = ase.geometry.get_distances(
        place[None], atoms.positions[states.atom[row, :3]], cell=atoms.cell, pbc=atoms.pbc
    )[1][0]
    np.testing.assert_allclose(apart, 1.42, atol=1e-6)
    removed = whole.atoms.numbers  # of the same lattice
    assert len(set(removed[states.atom[row, :3]])) == 1


def test_degenerate_states_are_told_by_their_mean(chain):
    """cos and sin of ±k are as good as e^(±ikx), whose weights are the same on all atoms: N atoms share each."""
    states = listed(chain(12, electrons=0.5), (-5, 5))
    np.testing.assert_allclose(states.sharing, 12, rtol=1e-9)


def test_populations_with_overlap_are_a_partition(graphene):
    hamiltonian = graphene((2, 2, 1), mass=0.4, overlap=0.2)
    states = listed(hamiltonian, (-30, 30), kpts=(2, 2, 1))
    assert len(states) == 8
    assert np.all(states.weight >= 0) and np.all(states.sharing <= 8 + 1e-9)
    assert np.all(states.sharing >= 1)
    np.testing.assert_allclose(states.zone, 1)
    assert states.electrons.sum() == pytest.approx(8.0)


def test_a_window_cuts_the_zone(graphene):
    whole = listed(graphene(mass=0.4), (-9, 9), kpts=(6, 6, 1))
    cut = listed(graphene(mass=0.4), (-9, 1.0), kpts=(6, 6, 1))
    assert whole.zone.tolist() == pytest.approx([1.0, 1.0])
    assert cut.zone[0] == pytest.approx(1.0) and 0 < cut.zone[1] < 1
    assert cut.highest.max() <= 1.0 < whole.highest.max()
