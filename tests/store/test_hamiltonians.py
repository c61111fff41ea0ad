import numpy as np
import pytest
from ase.build import molecule

from gh_tools.errors import DataError, TryAgainError
from gh_tools.orbitals.blocks import Bands
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.hashes import verify_id
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Column, Structures
from tests.orbitals.tables import SIO, basis, quartz_like, random_hamiltonian

MADE = Provenance("test", config={"xc": "PBE"})
BASIS = SIO.merge(basis(H=[(0, 2.0)]), "test")


def make(n_spins=1):
    atoms = [quartz_like(0), molecule("H2O"), quartz_like(1)]
    hams = [random_hamiltonian(a, BASIS, seed, n_spins) for seed, a in enumerate(atoms)]
    hams[1].bands = Bands(
        np.zeros((1, 3)), np.ones(1), np.arange(n_spins * 4.0).reshape(n_spins, 1, 4)
    )
    hams[2].bands = Bands(
        np.eye(3), np.ones(3) / 3, np.arange(n_spins * 6.0).reshape(n_spins, 3, 2)
    )
    strain = Column(np.arange(3.0), "", "strain")
    return Structures(atoms, ["a", "b", "c"], {"strain": strain}), hams


def assert_same(read, written):
    assert np.array_equal(read.atoms.positions, written.atoms.positions)
    assert read.scalars == written.scalars
    for (key, blocks), (key0, blocks0) in zip(read.groups(), written.groups(), strict=True):
        assert key == key0
        for name, values in vars(blocks0).items():
            found = getattr(blocks, name)
            assert found is None if values is None else np.array_equal(found, values)


def test_members_that_some_structures_lack_are_left_out(tmp_path, caplog):
    """As where a prediction by an ensemble was begun by a version that did not keep them."""
    structures, hams = make()
    for _, blocks in hams[0].groups():
        blocks.members = np.stack([0 * blocks.hamiltonian, 0 * blocks.hamiltonian])[:, None]
    writer = HamiltonianWriter(tmp_path / "x.zarr", structures, MADE)
    for index, hamiltonian in enumerate(hams):
        writer.write(index, hamiltonian)
    reader = HamiltonianReader(writer.publish(BASIS, {"spins": 1}))
    assert list(check_arrays(reader.store)) == []
    assert [reader.read(index).n_members for index in range(3)] == [0, 0, 0]
    assert "earlier version" in caplog.text


@pytest.mark.parametrize("n_spins", [1, 2])
def test_hamiltonians_come_back_bit_by_bit_in_any_order_of_writing(tmp_path, n_spins):
    structures, hams = make(n_spins)
    writer = HamiltonianWriter(tmp_path / "x.zarr", structures, MADE)
    for index in (2, 0, 1):
        assert not writer.done(index)
        writer.write(index, hams[index])
    path = writer.publish(BASIS, {"spins": n_spins})
    reader = HamiltonianReader(path)
    assert reader.basis == BASIS
    assert reader.names == ["a", "b", "c"]
    assert list(check_arrays(reader.store)) == []
    assert verify_id(reader.store)
    for index, written in enumerate(hams):
        assert_same(reader.read(index), written)
        assert reader.read(index).n_spins == n_spins
    assert reader.read(0).bands is None
    assert np.array_equal(reader.read(2).bands.eigenvalue, hams[2].bands.eigenvalue)
    assert not (tmp_path / "x.zarr.partial").exists()


def test_failed_structures_are_left_out_listed_and_tried_again_by_resume(tmp_path):
    structures, hams = make()
    path = tmp_path / "x.zarr"
    writer = HamiltonianWriter(path, structures, MADE)
    writer.partial.fail(1, structures.names[1], "did not converge")
    with pytest.raises(TryAgainError, match="b: did not converge"):
        writer.publish(BASIS)
    writer.write(0, hams[0])
    writer.write(2, hams[2])
    reader = HamiltonianReader(writer.publish(BASIS))
    assert reader.names == ["a", "c"]
    assert np.array_equal(reader.structures.columns["strain"].values, [0, 2])
    assert reader.attributes["failed"][0]["name"] == "b"
    assert_same(reader.read(1), hams[2])

    again = HamiltonianWriter(path, structures, MADE, resume=True)
    assert [again.done(k) for k in range(3)] == [True, False, True]
    again.write(1, hams[1])
    reader = HamiltonianReader(again.publish(BASIS))
    assert reader.names == ["a", "b", "c"]
    for index in range(3):
        assert_same(reader.read(index), hams[index])


def test_resuming_an_overwriting_run_takes_nothing_from_the_store_to_be_replaced(tmp_path):
    structures, hams = make()
    path = tmp_path / "x.zarr"
    writer = HamiltonianWriter(path, structures, MADE)
    for index, ham in enumerate(hams):
        writer.write(index, ham)
    writer.publish(BASIS)
    HamiltonianWriter(path, structures, MADE, overwrite=True).write(1, hams[1])
    resumed = HamiltonianWriter(path, structures, MADE, resume=True)
    assert [resumed.done(k) for k in range(3)] == [False, True, False]


def test_a_basis_that_differs_is_named(tmp_path):
    other = basis(O=[(0, 2.4), (1, 2.9)])
    with pytest.raises(DataError, match=r"labels\.zarr: the basis of O differs in shells"):
        BASIS.check_same(other, "labels.zarr")
    with pytest.raises(DataError, match="no basis is known for Au"):
        BASIS.check_covers([8, 79], "x")
