"""Eigenvalues of S of dense environments, against those of S(k)."""

import logging

import ase
import numpy as np
import pytest
from ase.build import bulk

from gh_tools.console import log
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.conditioning import POOR, conditioning, densest_environments, warn_if_poor
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import Overlap
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.pairs import basis_cutoffs, wrapped
from tests.dft.test_overlap import overlap_hamiltonian

HAFNIA = wrapped(bulk("HfO2", "fluorite", a=5.08))


@pytest.fixture(scope="module", params=[None, 0.3], ids=["diffuse", "confined"])
def basis(request):
    shift = {} if request.param is None else {"Hf": request.param}
    return basis_table(LabelConfig(energy_shift=shift), HAFNIA.numbers)


def test_s_of_k_reaches_further_on_both_sides(basis):
    cutoffs = basis_cutoffs(basis)
    found = conditioning(Overlap(basis, HAFNIA.numbers), basis, cutoffs, HAFNIA, 0)
    hamiltonian = overlap_hamiltonian(HAFNIA, basis)
    kpoints = np.random.default_rng(0).uniform(size=(40, 3))
    values = [np.linalg.eigvalsh(bloch_matrix(hamiltonian, k, "overlap")) for k in kpoints]
    lowest, highest = np.min(values), np.max(values)
    # Interlacing; how near 60 atoms come is an observation: factors of 1.4 and 13
    assert lowest < found.lowest < 20 * lowest
    assert highest / 2 < found.highest < highest
    assert (found.lowest < POOR) == (lowest < POOR)


def test_a_poor_basis_is_named(basis, caplog, monkeypatch):
    monkeypatch.setattr(log, "propagate", True)
    overlap = Overlap(basis, HAFNIA.numbers)
    with caplog.at_level(logging.WARNING):
        warn_if_poor(overlap, basis, basis_cutoffs(basis), [HAFNIA])
    confined = basis[72].reach < 5
    assert caplog.messages == [] if confined else "the lowest of Hf" in caplog.text
    assert confined or f"basis {basis[72].basis_name}" in caplog.text


def test_the_densest_environment_of_each_element():
    loose = ase.Atoms("HO", [(0, 0, 0), (0, 0, 2.0)])
    dense = ase.Atoms("OHHO", [(0, 0, 0), (0, 0, 1.1), (0, 0, 2.0), (0, 0, 5.5)])
    found = densest_environments([loose, dense])
    assert {z: (atoms is dense, atom) for z, (atoms, atom) in found.items()} == {
        1: (True, 1),
        8: (True, 0),
    }
