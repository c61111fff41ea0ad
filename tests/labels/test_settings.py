"""Stores of labels that are joined are of one Hamiltonian."""

from __future__ import annotations

import ase
import pytest

from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_structures
from gh_tools.errors import DataError
from gh_tools.labels.labels import open_labels
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Real labels of a wire of hydrogen, with other settings each."""
    folder = tmp_path_factory.mktemp("settings")
    settings = {
        "pbe": {},
        "lda": {"xc": "LDA"},
        "coarse": {"h": 0.4, "kpoint_density": 1.5},
        "other kpts": {"kpts": (3, 1, 1)},
    }
    found = {}
    for name, values in settings.items():
        config = LabelConfig(**{"h": 0.35, "vacuum": 3.0, "kpoint_density": 1.0, **values})
        structures = Structures(
            [ase.Atoms("H2", [[0, 0, 0], [0.8, 0, 0]], cell=[2.2, 0, 0], pbc=[True, False, False])],
            [name],
        )
        path = folder / f"{name.replace(' ', '-')}.hamiltonians.zarr"
        label_structures(path, structures, config, Provenance("gh-label"))
        found[name] = open_store(path)
    return found


def test_two_functionals_are_refused(stores):
    with pytest.raises(
        DataError, match=r"lda\S+: expected labels of PBE as in \S+pbe\S+, found LDA"
    ):
        open_labels([stores["pbe"], stores["lda"]])


def test_another_functional_is_refused_behind_a_store_that_is_warned_of(stores):
    with pytest.raises(DataError, match="found LDA"):
        open_labels([stores["pbe"], stores["coarse"], stores["lda"]])


def test_settings_that_make_noise_are_named(stores, caplog):
    open_labels([stores["pbe"], stores["coarse"]])
    assert "h 0.35 and 0.4, kpoint_density 1 and 1.5; a model" in caplog.text


def test_grids_that_were_chosen_for_a_cell_are_no_difference(stores, caplog):
    assert len(open_labels([stores["pbe"], stores["other kpts"]]).names) == 2
    assert "alike" not in caplog.text
