"""gh-tools from Python: the same numbers as the commands, ASE and SciPy give."""

import subprocess

import ase
import numpy as np
import pytest
import scipy.linalg
import xarray
from ase.build import molecule

import gh_tools as gh
from gh_tools.errors import DataError, NoInputError
from gh_tools.store.hamiltonians import HamiltonianReader
from tests.commands.server import forked


@pytest.fixture(scope="module")
def labels(tiny_labels):
    return gh.open(tiny_labels)


def test_a_set_of_hamiltonians_is_a_sequence(labels):
    assert len(labels) == len(list(labels)) == 4
    assert labels[-1].name == labels.names[-1] == labels[labels.names[-1]].name
    with pytest.raises(IndexError, match="4 structures"):
        labels[4]
    with pytest.raises(DataError, match="no structure of the name 'none'"):
        labels["none"]


def test_representations_say_what_it_is(labels):
    assert "4 structures" in repr(labels)
    assert labels._repr_html_().startswith("<pre>")
    assert repr(labels[0]) == f"<{labels.names[0]}: H and S of Se2W, 27 orbitals>"


def test_the_table_has_columns_and_scalars_with_units(labels, tiny_labels):
    table = labels.table()
    reader = HamiltonianReader(tiny_labels)
    np.testing.assert_array_equal(table["fermi_level"], reader.scalars["fermi_level"])
    np.testing.assert_array_equal(
        table["strain_x"], np.asarray(reader.structures.columns["strain_x"].values)
    )
    assert list(table.index) == labels.names
    assert table.attrs["units"]["fermi_level"] == "eV"


def test_eigenvalues_are_those_of_the_run_itself(labels):
    """GPAW's own eigenvalues at its k-points are stored beside the blocks."""
    one = labels[0]
    bands = one.blocks.bands
    np.testing.assert_allclose(one.eigenvalues(bands.kpoint), bands.eigenvalue, atol=1e-5)


def test_dense_sparse_and_scipy_agree(labels):
    one, k = labels[1], (0.2, -0.1, 0.0)
    np.testing.assert_allclose(one.H(k, sparse=True).toarray(), one.H(k), atol=1e-14)
    expected = scipy.linalg.eigh(one.H(k), one.S(k), eigvals_only=True)
    np.testing.assert_allclose(one.eigenvalues([k])[0, 0], expected, atol=1e-10)


def test_dos_and_bands(labels):
    one = labels[0]
    dos = one.dos(kpts=(2, 2, 1), window=(-60, 60), width=0.2)
    assert isinstance(dos, xarray.DataArray)
    assert list(dos.species.values) == ["Se", "W"]
    # All orbitals, both spins.
    states = float(dos.sum("species").integrate("energy"))
    assert states == pytest.approx(2 * one.n_orbitals, abs=1e-3)
    path = one.bands("GM", 5, kpts=(2, 2, 1))
    assert path.energies.shape == (1, 5, one.n_orbitals)


def test_groups_positions_states_and_optics(labels, tmp_path):
    settings = {
        "kpts": (2, 2, 1),
        "project": "layer",
        "along": "z",
        "states": (-1, 1),
        "points": 50,
        "window": (-12, 8),
    }
    spectrum = labels[0].spectrum(**settings)
    assert set(spectrum.local) == {"groups", "positions"} and spectrum.states is not None
    command = (
        f"{forked() / 'gh-dos'} {labels.path} --kpts 2 2 1 --project layer --along z --states -1 1"
    )
    command += f" --set points=50 --window -12 8 -o {tmp_path / 'x.spectra.zarr'}"
    subprocess.run(command.split(), check=True, capture_output=True)
    stored = gh.open(tmp_path / "x.spectra.zarr")
    found = stored.local(labels.names[0])
    assert found["groups"].names == spectrum.local["groups"].names
    np.testing.assert_allclose(
        found["positions"].density, spectrum.local["positions"].density, atol=1e-4
    )
    assert len(stored.states(0).energy) == len(spectrum.states.energy)
    optics = labels[0].optics(kpts=(2, 2, 1), points=5)
    assert optics.response.shape == (3, 3, 5) and optics.positions == "basis"
    orthogonal = labels[0].orthogonal((0.2, 0.1, 0))
    expected = labels[0].eigenvalues([(0.2, 0.1, 0)])[0, 0]
    np.testing.assert_allclose(np.linalg.eigvalsh(orthogonal), expected, atol=1e-9)


def test_a_model_predicts_what_gh_infer_stores(labels, random_bond_model, tiny_labels, tmp_path):
    command = [forked() / "gh-infer", tiny_labels, "-m", random_bond_model]
    subprocess.run([*command, "-o", tmp_path / "p.zarr"], check=True, capture_output=True)
    stored = gh.open(tmp_path / "p.zarr")[2]
    model = gh.open(random_bond_model)
    assert isinstance(model, gh.Model)
    found = model(labels[2].atoms)
    for k in ((0, 0, 0), (0.1, 0.3, 0)):
        np.testing.assert_array_equal(found.H(k), stored.H(k))
        np.testing.assert_array_equal(found.S(k), stored.S(k))
    assert found.scalars["n_electrons"] == stored.scalars["n_electrons"]
    with pytest.raises(DataError, match="H2O"):
        gh.Model(random_bond_model)(molecule("H2O"))


def test_labels_from_atoms():
    hydrogen = molecule("H2", vacuum=4.0)
    found = gh.label(hydrogen, h=0.3)
    assert found.n_orbitals == 2 * 4
    assert found.scalars["n_electrons"] == 2
    assert found.scalars["fermi_level"] > found.eigenvalues()[0, 0, 0]


def test_labels_from_a_density_that_is_known(tmp_path):
    hydrogen = molecule("H2", vacuum=4.0)
    found = gh.label(hydrogen, h=0.3)
    again = gh.label(hydrogen, tmp_path / "gpaw.txt", start=found, h=0.3)
    assert "Converged in 3 steps" in (tmp_path / "gpaw.txt").read_text()
    np.testing.assert_allclose(again.H(), found.H(), atol=1e-4)
    for other, settings, told in [
        (molecule("H2", vacuum=5.0), {}, "start: the cells differ"),
        (hydrogen, {"basis": "dzp"}, "start: the basis of H differs in shells"),
        (hydrogen, {"spin": "collinear", "magmoms": {"H": 1.0}}, "start: expected H of 2 spin"),
    ]:
        with pytest.raises(DataError, match=told):
            gh.label(other, start=found, h=0.3, **settings)


def test_structures_are_ase_atoms(tmp_path, labels):
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.structures import write_structures

    path = write_structures(tmp_path / "x.zarr", labels.structures, Provenance("test"))
    opened = gh.open(path)
    assert isinstance(opened[0], ase.Atoms)
    assert opened[0] == labels.atoms[0]
    with pytest.raises(NoInputError):
        gh.open(tmp_path / "none.zarr")
