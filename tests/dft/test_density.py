"""The density that all k-points share one sum for, against GPAW's own, which sums at each k-point."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, mx2
from gpaw.new.ibzwfs import IBZWaveFunctions

from gh_tools.dft import density
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import run


def oblique():
    """Two atoms that differ, displaced, in a cell without symmetry."""
    atoms = bulk("SiC", "zincblende", a=4.36)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.1 * np.tri(3, k=-1)), scale_atoms=True)
    return atoms


CASES = {
    "bulk crystal": (oblique, {"kpts": (2, 3, 1)}),
    "shifted points": (oblique, {"kpts": (2, 1, 2), "kpts_shift": 0.25}),
    "layer": (lambda: mx2("MoS2", vacuum=4.0), {"kpts": (3, 2, 1)}),
    "spins": (
        lambda: bulk("Fe", a=2.87),
        {"kpts": (2, 2, 2), "spin": "collinear", "magmoms": {"Fe": 2.0}},
    ),
}


@pytest.fixture(params=CASES)
def waves(request, tmp_path):
    make, settings = CASES[request.param]
    atoms = make()
    config = LabelConfig(h=0.3, convergence={"density": 1e-2}, **settings)
    calculator = run(atoms, config, basis_table(config, atoms.numbers), tmp_path / "gpaw.txt")
    return calculator.dft.ibzwfs, calculator.dft.density


def test_densities_on_the_grid_and_at_the_atoms_are_gpaws(waves):
    states, now = waves
    # Not nothing, and not in the order of magnitude of rounding: electrons in a cell.
    expected, found = now.nt_sR.new(zeroed=True), now.nt_sR.new(zeroed=True)
    at_atoms, found_at_atoms = now.D_asii.copy(), now.D_asii.copy()
    at_atoms.data[:] = found_at_atoms.data[:] = 0.0
    IBZWaveFunctions.add_to_density(states, expected, at_atoms)
    states.add_to_density(found, found_at_atoms)
    assert expected.integrate().min() > 1.0
    np.testing.assert_allclose(found.data, expected.data, rtol=0, atol=1e-13 * expected.data.max())
    np.testing.assert_allclose(found_at_atoms.data, at_atoms.data, rtol=0, atol=1e-12)


def test_k_points_share_one_sum(waves, monkeypatch):
    states, now = waves
    calls = []
    monkeypatch.setattr(density.Images, "add_density", lambda *given: calls.append(given))
    states.add_to_density(now.nt_sR.new(zeroed=True), now.D_asii.copy())
    assert len(calls) == states.nspins
    assert all(len(matrices) == len(states.ibz) > 1 for _, matrices, _, _ in calls)


def test_one_by_one_where_the_matrix_would_be_too_large(tmp_path, monkeypatch):
    atoms = oblique()
    config = LabelConfig(h=0.3, kpts=(2, 1, 1))
    basis = basis_table(config, atoms.numbers)
    energy = run(atoms, config, basis, tmp_path / "gpaw.txt").results["energy"]
    monkeypatch.setattr(density, "_LARGEST", 1)
    alone = run(atoms, config, basis, tmp_path / "gpaw.txt")
    assert density.Images.of(next(iter(alone.dft.ibzwfs)).basis) is None
    assert alone.results["energy"] == pytest.approx(energy, abs=1e-9)
