import json
import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
import zarr

from gh_tools.errors import CannotCreateError, DataError, NoInputError
from gh_tools.store import io, read
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hashes import content_id, verify_id
from gh_tools.store.io import write_arrays
from gh_tools.store.partial import PartialStore
from gh_tools.store.provenance import Provenance, find_inputs
from gh_tools.store.read import open_store
from gh_tools.store.schema import SCHEMA
from gh_tools.store.structures import (
    Column,
    Structures,
    read_structures,
    structure_arrays,
    write_structures,
)
from tests.faults import mutate
from tests.orbitals.tables import quartz_like

MADE = Provenance("test")


def structures(n=3):
    atoms = [quartz_like(seed) for seed in range(n)]
    atoms[-1].pbc = (True, False, True)
    names = [f"q-{k}" for k in range(n)]
    return Structures(atoms, names, {"strain": Column(np.linspace(0, 1, n), "", "of the cell")})


@pytest.fixture
def store(tmp_path):
    return write_structures(tmp_path / "q.structures.zarr", structures(), MADE)


def test_structures_come_back_as_they_were(store):
    read, written = read_structures(store), structures()
    assert read.names == written.names
    for a, b in zip(read.atoms, written.atoms, strict=True):
        assert np.array_equal(a.numbers, b.numbers)
        assert np.array_equal(a.positions, b.positions)
        assert np.array_equal(a.cell.array, b.cell.array)
        assert np.array_equal(a.pbc, b.pbc)
    assert np.array_equal(read.columns["strain"].values, [0, 0.5, 1])
    assert read.columns["strain"].unit == ""
    assert list(check_arrays(open_store(store))) == []


def test_same_content_has_the_same_bytes_and_id(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    files = []
    for name in ("a", "b"):
        path = write_structures(tmp_path / f"{name}.zarr", structures(), MADE)
        files.append({f.relative_to(path): f.read_bytes() for f in path.rglob("*") if f.is_file()})
    assert files[0] == files[1]
    other = structures()
    other.atoms[0].positions[0, 0] += 1e-9
    changed = write_structures(tmp_path / "c.zarr", other, MADE)
    assert open_store(changed).id != open_store(tmp_path / "a.zarr").id


@pytest.mark.parametrize("hashed", [2**28, 0])
def test_damage_is_found_in_small_stores_and_in_large_ones(store, monkeypatch, hashed):
    """Those that are hashed whole, and those of which each chunk is verified when it is read."""
    monkeypatch.setattr(read, "HASHED_BYTES", hashed)
    opened = open_store(store)
    assert verify_id(opened)
    file = store / "atoms/position/c/0/0"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    assert not verify_id(opened)
    with pytest.raises(DataError, match=r"atoms/position: its chunks cannot be read .*checksum"):
        open_store(store)
    file.unlink()
    with pytest.raises(
        DataError, match="atoms/position: the chunk atoms/position/c/0/0 is missing"
    ):
        open_store(store)


def test_a_chunk_that_vanishes_from_an_open_store_is_no_zeros(store):
    opened = open_store(store)
    (store / "atoms/position/c/0/0").unlink()
    with pytest.raises(DataError, match="atoms/position/c/0/0 is missing"):
        opened.read("atoms/position", slice(0, 3))


def test_metadata_of_large_stores_is_hashed(store, monkeypatch):
    monkeypatch.setattr(read, "HASHED_BYTES", 0)
    file = store / "column/strain/zarr.json"
    file.write_text(file.read_text().replace("of the cell", "of another"))
    with pytest.raises(DataError, match="metadata_id"):
        open_store(store)


def test_shapes_that_no_file_can_hold_are_refused_before_memory_is_taken(store):
    file = store / "column/strain/zarr.json"
    metadata = json.loads(file.read_text())
    metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [2**40]
    file.write_text(json.dumps(metadata))
    mutate.seal(store)
    with pytest.raises(DataError, match=r"take 8.8e\+03 GB of memory, but its files hold 0.0"):
        open_store(store)


def test_schema_1_is_read_and_hashed_as_it_was_written(tmp_path, monkeypatch):
    """Chunks of zeros are absent there, there is one hash, and no checksum of chunks."""
    monkeypatch.setattr(io, "SCHEMA", 1)
    monkeypatch.setattr(read, "HASHED_BYTES", 0)
    arrays = structure_arrays(structures())
    arrays["column/nothing"] = np.zeros(3)
    path = write_arrays(tmp_path / "old.zarr", "structures", arrays, provenance=MADE)
    shutil.rmtree(path / "column/nothing/c")
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"]["metadata_id"]
    root["attributes"]["id"] = content_id(path, {"kind": "structures", "schema": 1})
    (path / "zarr.json").write_text(json.dumps(root))
    opened = open_store(path)
    assert np.array_equal(opened["column/nothing"], np.zeros(3))
    assert verify_id(opened)
    shutil.rmtree(path / "structures/pbc/c")  # a part of a crystal would become a molecule
    with pytest.raises(DataError, match="id: the content"):
        open_store(path)


def test_history_is_copied_forward_and_inputs_found_after_a_move(tmp_path, store):
    source = open_store(store)
    made = Provenance("second", ["-x"], seed=3, config={"a": 1}, inputs=[source])
    write_arrays(
        tmp_path / "d.zarr", "structures", structure_arrays(structures(4)), provenance=made
    )
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("d.zarr", store.name):
        (tmp_path / name).rename(moved / name)
    second = open_store(moved / "d.zarr")
    assert [entry["program"] for entry in second.history] == ["test", "second"]
    assert second.history[-1]["seed"] == 3
    assert find_inputs(second, "structures")[0].id == source.id
    with pytest.raises(NoInputError, match="names no model"):
        find_inputs(second, "model")
    write_structures(moved / store.name, structures(2), MADE, overwrite=True)
    with pytest.raises(DataError, match="has changed since"):
        find_inputs(second, "structures")


def test_time_honours_source_date_epoch(monkeypatch, tmp_path):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert MADE.entry(tmp_path / "x")["time"] == "1970-01-01T00:00:00+00:00"


def test_existing_output_is_refused_and_kept(store):
    before = open_store(store).id
    with pytest.raises(CannotCreateError, match="--overwrite"):
        write_structures(store, structures(2), MADE)
    assert open_store(store).id == before
    write_structures(store, structures(2), MADE, overwrite=True)
    assert len(read_structures(store)) == 2
    assert [p.name for p in store.parent.iterdir()] == [store.name]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="object"):
        write_arrays(
            tmp_path / "x.zarr",
            "structures",
            {"a": np.zeros(3, complex).astype("O")},
            provenance=MADE,
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CannotCreateError, match="folder does not exist"):
        write_structures(tmp_path / "none" / "x.zarr", structures(), MADE)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"schema": SCHEMA + 1}, "update gh-tools"),
        ({"status": "writing"}, "unfinished"),
        ({"kind": "soup"}, "not a store of gh-tools"),
    ],
)
def test_what_cannot_be_read_is_refused(store, attributes, message):
    zarr.open_group(store).attrs.update(attributes)
    with pytest.raises(DataError, match=message):
        open_store(store)


def test_wrong_kind_missing_and_foreign_stores_are_refused(tmp_path, store):
    with pytest.raises(
        DataError, match="expected a store of kind model, found structures; gh-train makes"
    ):
        open_store(store, "model")
    (tmp_path / "x.xyz").touch()
    with pytest.raises(DataError, match=r"but a file; .* gh-build .*x.xyz"):
        open_store(tmp_path / "x.xyz")
    with pytest.raises(NoInputError, match="no such store"):
        open_store(tmp_path / "none.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="not a store of gh-tools"):
        open_store(tmp_path / "folder")
    with pytest.raises(DataError, match="array nothing is missing"):
        open_store(store)["nothing"]


@pytest.mark.parametrize(
    ("key", "values", "fault"),
    [
        ("structures/pbc", np.zeros((2, 3), bool), "structures/pbc: expected 3 along axis n"),
        ("atoms/number", np.zeros(15), "atoms/number: expected int values"),
        ("structures/atom_ptr", np.array([0, 9, 5, 15]), "never decrease"),
        ("structures/atom_ptr", np.array([0, 5, 10, 14]), "ends at 14, but atoms/number has 15"),
        ("structures/cell", np.zeros((3, 9)), "expected shape"),
    ],
)
def test_check_names_the_fault(tmp_path, key, values, fault):
    arrays = {**structure_arrays(structures()), key: values}
    path = write_arrays(tmp_path / "x.zarr", "structures", arrays, provenance=MADE)
    with pytest.raises(DataError, match=fault):
        open_store(path)
    arrays.pop(key)
    path = write_arrays(tmp_path / "y.zarr", "structures", arrays, provenance=MADE)
    with pytest.raises(DataError, match=f"{key} is missing"):
        open_store(path)


def test_streamed_pieces_join_to_the_whole_in_chunks_and_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(io, "_CHUNK", 64)
    monkeypatch.setattr(io, "_SHARD", 2)
    whole = np.random.default_rng(0).normal(size=(2, 101, 3, 3))
    group = zarr.open_group(tmp_path / "g", mode="w")
    pieces = np.split(whole, [1, 20, 50, 90], axis=1)
    io.put_stream(group, "x", whole.shape, whole.dtype, iter(pieces))
    assert np.array_equal(group["x"][...], whole)
    assert group["x"].chunks[1] < group["x"].shards[1] < 101


def writer(path, index, started):
    partial = PartialStore(path, MADE, shared=True)
    started.put(index)
    for repeat in range(1000):
        partial.write_part(index, {"x": np.full(200_000, float(repeat))})


def test_killed_writers_leave_whole_parts_or_none(tmp_path):
    context = multiprocessing.get_context("spawn")
    started = context.Queue()
    path = tmp_path / "x.zarr"
    workers = [context.Process(target=writer, args=(path, k, started)) for k in range(2)]
    for worker in workers:
        worker.start()
    for _ in workers:
        started.get(timeout=60)
    time.sleep(0.3)
    for worker in workers:
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
    partial = PartialStore(path, MADE, resume=True)
    assert any(partial.has_part(k) for k in range(2))
    for k in (k for k in range(2) if partial.has_part(k)):
        with partial.open_part(k) as part:
            assert len(set(part["x"])) == 1
    assert not path.exists()


def test_an_unfinished_run_is_resumed_only_as_it_was(tmp_path):
    path = tmp_path / "x.zarr"
    PartialStore(path, Provenance("p", config={"h": 0.2})).write_part(0, {"x": np.zeros(1)})
    with pytest.raises(CannotCreateError, match="--resume"):
        PartialStore(path, Provenance("p", config={"h": 0.2}))
    with pytest.raises(CannotCreateError, match=r"another config \(h: 0.2 then, 0.3 now\)"):
        PartialStore(path, Provenance("p", config={"h": 0.3}), resume=True)
    assert PartialStore(path, Provenance("p", config={"h": 0.2}), resume=True).has_part(0)
    assert not PartialStore(path, Provenance("p", config={"h": 0.3}), overwrite=True).has_part(0)
    with pytest.raises(NoInputError, match="unfinished"):
        open_store(path)


def test_failures_are_recorded_and_taken_back(tmp_path):
    partial = PartialStore(tmp_path / "x.zarr", MADE)
    partial.fail(3, "w-3", "no convergence")
    assert partial.failures() == [{"index": 3, "name": "w-3", "reason": "no convergence"}]
    partial.write_part(3, {"x": np.zeros(1)})
    assert partial.failures() == []


def test_attributes_are_json(store):
    root = json.loads((store / "zarr.json").read_text())["attributes"]
    assert root["status"] == "complete"
    assert root["schema"] == SCHEMA


def test_one_mark_of_pure_numbers(tmp_path):
    """Stores of before mark some of them "1", which must not make two columns of one unit differ."""
    path = tmp_path / "old.structures.zarr"
    old = Structures([quartz_like(0)], ["a"], {"strain": Column(np.ones(1), "1", "as before")})
    write_structures(path, old, MADE)
    assert open_store(path).unit("column/strain") == ""
    assert read_structures(path).columns["strain"].unit == ""


def test_parts_that_cannot_be_mapped_into_memory_are_refused(tmp_path):
    partial = PartialStore(tmp_path / "x.zarr", MADE)
    values = np.arange(12.0).reshape(3, 4)
    partial.parts.write_part(0, {"x": values.T})  # a view in Fortran order is written in C order
    array = partial.parts.arrays(0)["x"]
    np.testing.assert_array_equal(
        partial.parts.read_rows(0, None, array, slice(1, 3)), values.T[1:3]
    )
    file = next(partial.parts.folder.glob("*.npz"))
    for save, what in ((np.savez_compressed, values), (np.savez, values.T)):
        save(file, x=what)
        with pytest.raises(DataError, match="uncompressed and in C order"):
            partial.parts.arrays(0)
