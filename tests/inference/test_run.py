"""Stores of predictions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gh_tools.dft.overlap import Overlap
from gh_tools.errors import CannotCreateError, DataError, UsageError
from gh_tools.inference import domain_size, run
from gh_tools.inference.checks import check_model_covers
from gh_tools.inference.predict import Predictor
from gh_tools.inference.run import predict_structures
from gh_tools.inference.structure import StructureWork, predict_structure
from gh_tools.orbitals.basis import Basis
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures
from gh_tools.trained_model.store import load_model


@pytest.fixture(scope="module")
def predictor(random_model):
    return Predictor(load_model(random_model))


@pytest.fixture(scope="module")
def result(predictor, tiny_labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("predicted") / "tiny.predicted.zarr"
    source = open_store(tiny_labels)
    provenance = Provenance("gh-infer", inputs=[source])
    path, failures = predict_structures(
        predictor, read_structures(source), path, provenance, n_workers=2
    )
    assert failures == []
    return path


def test_shaped_like_labels(result, tiny_labels):
    store = open_store(result, "hamiltonians")
    assert list(check_arrays(store)) == []
    mine, labels = HamiltonianReader(store), HamiltonianReader(tiny_labels)
    assert mine.predicted and not labels.predicted
    assert mine.names == labels.names
    for column, values in labels.structures.columns.items():
        np.testing.assert_array_equal(mine.structures.columns[column].values, values.values)
    mine.basis.check_same(labels.basis, "prediction")
    blocks = {key.rsplit("/", 1)[0] for key in labels.store.keys() if "/hamiltonian" in key}
    assert blocks == {key.rsplit("/", 1)[0] for key in store.keys() if "/hamiltonian" in key}
    assert store["onsite/74/hamiltonian"].dtype == np.float32


def test_overlap_is_that_of_the_labels(result, tiny_labels):
    """S of the labels comes from GPAW's own SCF run, that of predictions from the basis table."""
    mine, label = HamiltonianReader(result).read(1), HamiltonianReader(tiny_labels).read(1)
    for number, blocks in label.onsite.items():
        np.testing.assert_allclose(mine.onsite[number].overlap, blocks.overlap, atol=1e-6)
    for key, blocks in label.pairs.items():
        here, there = (
            {
                (i, j, *cell_offset): s
                for i, j, cell_offset, s in zip(
                    b.i, b.j, b.cell_offset.tolist(), b.overlap, strict=True
                )
            }
            for b in (mine.pairs[key], blocks)
        )
        assert len(here) > 0.8 * len(there)
        # Labels drop what is below 1e-7, predictions what is beyond the orbitals' reach.
        nothing = np.zeros(blocks.overlap.shape[1:])
        for place in here.keys() | there.keys():
            found, expected = here.get(place, nothing), there.get(place, nothing)
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_resume_keeps_what_is_done(predictor, tiny_labels, result, tmp_path, monkeypatch):
    source = open_store(tiny_labels)
    structures = read_structures(source)
    provenance = Provenance("gh-infer", inputs=[source])
    path = tmp_path / "x.predicted.zarr"
    blocks, calls = predictor.blocks, []

    def stop_after_two(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(arguments)
        return blocks(*arguments)

    monkeypatch.setattr(predictor, "blocks", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        predict_structures(predictor, structures, path, provenance)
    assert not path.exists()
    with pytest.raises(CannotCreateError, match="--resume"):
        predict_structures(predictor, structures, path, provenance)
    calls.clear()
    monkeypatch.setattr(predictor, "blocks", lambda *args: calls.append(0) or blocks(*args))
    predict_structures(predictor, structures, path, provenance, resume=True)
    assert len(calls) == 2
    assert open_store(path).id == open_store(result).id
    # What is finished stays as it is.
    before = (path / "zarr.json").stat().st_mtime_ns
    assert predict_structures(predictor, structures, path, provenance, resume=True) == (path, [])
    assert len(calls) == 2
    assert (path / "zarr.json").stat().st_mtime_ns == before


def test_elements_and_bases_that_the_model_lacks(predictor, tiny_labels):
    source = open_store(tiny_labels)
    structures = read_structures(source)
    check_model_covers(source, structures, predictor.basis)
    only_selenium = Basis({34: predictor.basis[34]})
    with pytest.raises(DataError, match=r"tiny\.hamiltonians\.zarr.* W, only for Se"):
        check_model_covers(source, structures, only_selenium)
    other = Basis({**predictor.basis.elements, 74: replace(predictor.basis[74], setup="14")})
    with pytest.raises(DataError, match="the basis of W differs in setup"):
        check_model_covers(source, structures, other)


# Larger than one domain of DOMAIN_BYTES, so that there are some ten
LARGE = (6, 5, 1)
SMALL_DOMAINS = (3e5, 3e5)
SCRIPT = """
import sys
from gh_tools.inference import domain_size, run
from gh_tools.inference.predict import Predictor
from gh_tools.store.read import open_store
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures, read_structures, write_structures
from gh_tools.trained_model.store import load_model
import jax

assert len(jax.devices()) == 2
domain_size.DOMAIN_BYTES = (3e5, 3e5)
model, source, path = sys.argv[1:]
source = open_store(source)
predictor = Predictor(load_model(model))
run.predict_structures(predictor, read_structures(source), path, Provenance("x", inputs=[source]))
"""


@pytest.fixture(scope="module")
def large(tiny_labels, tmp_path_factory):
    """A store of a cell of 90 atoms in no order, and of one of 3."""
    small, first = read_structures(tiny_labels).atoms[:2]
    atoms = first.repeat(LARGE)[np.random.default_rng(0).permutation(90)]
    atoms.rattle(0.03, seed=1)
    path = tmp_path_factory.mktemp("large") / "large.structures.zarr"
    return write_structures(
        path, Structures([atoms, small], ["large", "small"]), Provenance("test")
    )


@pytest.fixture(scope="module")
def whole(predictor, large, tmp_path_factory):
    source = open_store(large)
    path = tmp_path_factory.mktemp("whole") / "whole.predicted.zarr"
    path, _ = predict_structures(
        predictor, read_structures(source), path, Provenance("x", inputs=[source])
    )
    return path


def same(path, other):
    """Assert that two stores hold the same."""
    path, other = open_store(path), open_store(other)
    assert path.keys() == other.keys()
    for key in path.keys():
        if path[key].dtype == np.float32:
            # Pairs stand in other places of their chunks, where the same sums may round otherwise:
            # some 1e-7 of energies up to 50 eV.
            np.testing.assert_allclose(path[key], other[key], rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(path[key], other[key])


def test_domains_give_what_the_whole_gives(predictor, large, whole, tmp_path, monkeypatch):
    source = open_store(large)
    structures = read_structures(source)
    predicted = HamiltonianReader(whole).read(0)
    blocks = predict_structure(predictor, structures.atoms[0])
    for (key, found), (_, expected) in zip(predicted.groups(), blocks.groups(), strict=True):
        np.testing.assert_array_equal(found.hamiltonian, expected.hamiltonian, err_msg=str(key))
    monkeypatch.setattr(domain_size, "DOMAIN_BYTES", SMALL_DOMAINS)
    domains = []
    write = run.write_piece
    monkeypatch.setattr(run, "write_piece", lambda *args: domains.append(args) or write(*args))
    path = tmp_path / "x.predicted.zarr"
    provenance = Provenance("x", inputs=[source])
    predict_structures(predictor, structures, path, provenance, n_workers=2)
    assert len(domains) > 5
    same(path, whole)


def test_shards_share_the_work_and_a_last_run_joins_it(
    predictor, random_model, large, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(domain_size, "DOMAIN_BYTES", SMALL_DOMAINS)
    source = open_store(large)
    structures = read_structures(source)
    path = tmp_path / "x.predicted.zarr"
    parts = tmp_path / "x.predicted.zarr.partial/parts"

    def go(**options):
        provenance = Provenance("x", inputs=[source])
        return predict_structures(predictor, structures, path, provenance, **options)

    assert go(shard=(2, 3)) == (None, [])
    second = {file.name: file.stat().st_mtime_ns for file in parts.iterdir()}
    assert go(shard=(1, 3)) == (None, [])
    # A scheduler does one of the third's, by a plain call
    numbers = {int(file.name.split(".")[1]) for file in parts.glob("000000.*")}
    token = json.loads((parts.parent / "run.json").read_text())["token"]
    model = random_model, open_store(random_model).id
    run.predict_domain(
        *(Parts(parts, token), 0, max(numbers) + 1, structures.atoms[0], 0.0, *model),
        domain_bytes=SMALL_DOMAINS[0],
        error_bars=False,
    )
    both = {file.name: file.stat().st_mtime_ns for file in parts.iterdir()}
    assert len(both) > len(second) > 1 and both.items() >= second.items()
    assert not path.exists()
    go(resume=True)
    same(path, whole)


def test_killed_amid_a_structure_on_two_devices_and_gone_on_with_one(
    predictor, random_model, large, whole, tmp_path, monkeypatch
):
    path = tmp_path / "x.predicted.zarr"
    parts = tmp_path / "x.predicted.zarr.partial/parts"
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, random_model, large, path],
        env={**os.environ, "XLA_FLAGS": flags},
    )
    while process.poll() is None and len(list(parts.glob("0*.npz"))) < 3:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = {file: file.stat().st_mtime_ns for file in parts.glob("0*.npz")}
    assert len(kept) >= 3 and not (parts / "000000.npz").exists()
    touched = []
    write = run.write_piece
    monkeypatch.setattr(run, "write_piece", lambda *args: touched.append(args[2]) or write(*args))
    source = open_store(large)
    predict_structures(
        predictor,
        read_structures(source),
        path,
        Provenance("x", inputs=[source]),
        resume=True,
    )
    assert touched and not {int(file.name.split(".")[1]) for file in kept} & set(touched)
    same(path, whole)


def test_memory_in_proportion_to_a_domain(predictor, large):
    """What NumPy holds at most while a domain is worked on; devices' chunks have a fixed size."""
    atoms = read_structures(large).atoms[0].repeat((3, 3, 1))
    overlap = Overlap(predictor.basis, predictor.basis.numbers)
    for domain_bytes in (2e6, 2e7):
        work = StructureWork(predictor, overlap, atoms, domain_bytes)
        work.blocks(0, [0])
        tracemalloc.start()
        work.blocks(0, [0])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < domain_size.HALO_BYTES + domain_size.WORKING * domain_bytes


def test_too_little_memory_is_refused(predictor, large, tmp_path):
    structures = read_structures(large)
    with pytest.raises(UsageError, match=r"give .*G or more"):
        predict_structures(predictor, structures, tmp_path / "x", Provenance("x"), memory=2**28)
    assert not list(tmp_path.iterdir())


def test_atoms_that_have_drifted_are_predicted_as_the_wrapped_ones(
    predictor, tiny_labels, tmp_path
):
    """Frames of molecular dynamics are not wrapped; R counts from wrapped positions."""
    atoms = read_structures(open_store(tiny_labels)).atoms[0]
    drifted = atoms.copy()
    drifted.positions += np.array([[120, -80, 0], [-7, 0, 0], [3, 100, 0]]) @ drifted.cell.array
    structures = Structures([atoms, drifted], ["wrapped", "drifted"])
    path, failures = predict_structures(
        predictor, structures, tmp_path / "x.predicted.zarr", Provenance("gh-infer")
    )
    assert failures == []
    one, other = (HamiltonianReader(path).read(index) for index in range(2))
    np.testing.assert_allclose(other.atoms.positions, one.atoms.positions, atol=1e-10)
    for key, blocks in one.pairs.items():
        np.testing.assert_array_equal(other.pairs[key].cell_offset, blocks.cell_offset)
        # Positions differ by rounding, which the network's single precision may make 1e-6 of 10 eV.
        np.testing.assert_allclose(other.pairs[key].hamiltonian, blocks.hamiltonian, atol=1e-4)
        np.testing.assert_allclose(other.pairs[key].overlap, blocks.overlap, atol=1e-6)
