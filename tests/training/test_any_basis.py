"""Bases with f shells, several shells of one degree and the heaviest elements, with one spin and with two."""

from __future__ import annotations

import ase
import numpy as np
import pytest

from gh_tools.orbitals.bond_frame import FRAMES
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.orbitals.pairs import Cutoffs
from gh_tools.scaleshift.fit_terms import fit_scaleshift
from gh_tools.training.data.samples import SampleMaker, predicted_hamiltonian
from tests.orbitals.tables import basis, random_hamiltonian

CUTOFF = 4.0
TABLE = basis(
    H=[(0, 1.5), (0, 1.2), (1, 1.5)],
    Ce=[(3, 1.4), (0, 2.0)],
    Og=[(0, 2.0), (2, 1.8), (1, 1.9), (1, 1.6), (3, 1.5)],
)
ATOMS = ase.Atoms(
    ["Og", "H", "Ce", "Og", "Ce"],
    [[0, 0, 0], [1.1, 0, 0.9], [0, 1.7, 1.0], [0, 0, 2.3], [1.6, 1.2, -0.4]],
    cell=[12.0] * 3,
)


class Labels:
    """One random Hamiltonian, as a store gives it."""

    def __init__(self, n_spins: int):
        self.label = random_hamiltonian(ATOMS, TABLE, spins=n_spins)

    def __len__(self) -> int:
        return 1

    def read(self, index: int):
        return self.label


def made(n_spins: int, frame: str):
    """Layout, maker, label and sample."""
    labels, layout = Labels(n_spins), IrrepLayout(TABLE, n_spins)
    scaleshift = fit_scaleshift([labels], np.arange(1), layout, FRAMES)[frame]
    cutoffs = {key: TABLE.pair_range(*key) for key in TABLE.species_pairs()}
    maker = SampleMaker(layout, scaleshift, Cutoffs(CUTOFF, cutoffs))
    return layout, maker, labels.label, maker(labels.label, "x")


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("n_spins", [1, 2])
def test_samples_compose_to_the_labels(n_spins, frame):
    layout, maker, label, sample = made(n_spins, frame)
    assert layout.max_degree == 6
    found = predicted_hamiltonian(
        maker.labelled(sample, label), sample.onsite, sample.pairs, layout, frame
    )
    assert found.n_spins == n_spins
    for key, blocks in label.groups():
        # Up to twice 7 × 7 terms of order one in single precision.
        np.testing.assert_allclose(
            dict(found.groups())[key].hamiltonian, blocks.hamiltonian, atol=1e-5
        )
