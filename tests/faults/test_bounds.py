"""Chunks that ask for more than they hold, with every checksum right; and damage to what is unfinished."""

import json
import shutil
import struct
from pathlib import Path

import google_crc32c
import jax
import numcodecs
import numpy as np
import pytest

from gh_tools.errors import CannotCreateError, DataError, TryAgainError
from gh_tools.store.audit import check_store
from gh_tools.store.codecs import _zstd_length
from gh_tools.store.partial import PartialStore
from gh_tools.store.parts import Parts
from gh_tools.store.read import open_store
from gh_tools.store.records import write_once
from gh_tools.training.checkpoints import Checkpoints, RunState
from tests.faults.jobs import MADE
from tests.faults.mutate import seal

ZSTD = numcodecs.Zstd()


def frame(length):
    """Begin a Zstandard frame that claims to hold so many bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0xE0]) + struct.pack("<Q", length) + b"\x01\x00\x00"


@pytest.mark.parametrize(
    ("array", "chunk", "said"),
    [
        ("structures/name", ZSTD.encode(struct.pack("<I", 10**7) + b"\0"), "10000000 texts"),
        ("structures/name", frame(2**40), "1099511627776 bytes"),
        ("atoms/number", frame(2**40), "1099511627776 bytes"),
        ("atoms/number", ZSTD.encode(bytes(2**25)), "33554432 bytes"),
        ("atoms/number", b"\x28\xb5\x2f\xfd\x00\x58\x01\x00\x00", "None bytes"),  # it does not tell
    ],
    ids=["texts", "header-of-texts", "header", "content", "no-length"],
)
def test_a_chunk_is_not_believed_how_large_it_is(small_stores, tmp_path, array, chunk, said):
    path = tmp_path / "x.zarr"
    shutil.copytree(small_stores["structures"], path)
    crc = struct.pack("<I", google_crc32c.value(chunk))
    (path / array / "c/0").write_bytes(chunk + crc)
    seal(path)
    with pytest.raises(DataError, match=f"{array}: .*claims to hold {said}"):
        open_store(path)


@pytest.mark.parametrize("name", ["gzip", "transpose"])
def test_other_codecs_are_refused(small_stores, tmp_path, name):
    path = tmp_path / "x.zarr"
    shutil.copytree(small_stores["structures"], path)
    file = path / "atoms/number/zarr.json"
    document = json.loads(file.read_text())
    codec = {
        "gzip": {"name": "gzip", "configuration": {"level": 1}},
        "transpose": {"name": "transpose", "configuration": {"order": [0]}},
    }[name]
    document["codecs"].insert(0 if name == "transpose" else 1, codec)
    file.write_text(json.dumps(document))
    seal(path)
    with pytest.raises(DataError, match=f"expected chunks encoded by .*found .*{name}"):
        open_store(path)


@pytest.mark.parametrize("size", [0, 1, 200, 255, 256, 257, 65_535, 65_536, 70_000, 2**24])
def test_the_length_of_a_frame_is_read_as_its_writer_meant_it(size):
    assert _zstd_length(ZSTD.encode(np.random.default_rng(0).bytes(size))[:18]) == size


@pytest.mark.parametrize("kind", ["scaleshift", "model"])
def test_structures_of_all_stores_are_checked(small_stores, tmp_path, kind):
    import zarr

    path = tmp_path / "x.zarr"
    shutil.copytree(small_stores[kind], path)
    cell = zarr.open_group(path, mode="r+")["structures/cell"]
    values = cell[...]
    values[0, 1] = values[0, 0]
    cell[...] = values
    seal(path)
    faults, _ = check_store(open_store(path), deep=False)
    assert any("cell" in fault for fault in faults)


def test_damaged_records_of_failures_are_tried_again(tmp_path):
    partial = PartialStore(tmp_path / "x.zarr", MADE)
    for change in (
        lambda content: content.replace(b"h2", b"h3"),
        lambda content: b"[]",
        lambda content: content[:-1],
        lambda content: b'{"index": "0", "name": null}',
        lambda content: b"[" * 100_000,
        lambda content: b"",
    ):
        partial.fail(0, "h2", "did not converge", died=True)
        assert partial.failures() == [
            {"index": 0, "name": "h2", "reason": "did not converge", "died": True}
        ]
        file = next(partial.folder.glob("*.failed.json"))
        file.write_bytes(change(file.read_bytes()))
        with pytest.raises(TryAgainError, match="was damaged, and has been removed"):
            partial.failures()
        assert partial.failures() == []


def test_what_was_agreed_on_is_damaged_or_of_an_earlier_version(tmp_path):
    file = tmp_path / "domains.json"
    assert write_once(file, {"domain_bytes": 1.5, "memory": None})["domain_bytes"] == 1.5
    assert write_once(file, {"domain_bytes": 2.5, "memory": None})["domain_bytes"] == 1.5
    for content, said in (
        (file.read_text().replace("1.5", "2.5"), "is damaged"),
        ('{"domain_bytes": 1.5, "memory": null}', "of an earlier version"),
    ):
        file.write_text(content)
        with pytest.raises(CannotCreateError, match=f"{said}.*start anew with --overwrite"):
            write_once(file, {"domain_bytes": 2.5, "memory": None})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two checkpoints, of steps 1 and 2, and the arrays of each."""
    folder = tmp_path_factory.mktemp("checkpoints")
    trees = [
        {"a": np.random.default_rng(k).normal(size=(60, 60)).astype("f4"), "n": np.int32(k)}
        for k in (1, 2)
    ]
    kept = Checkpoints(folder)
    for k, tree in enumerate(trees, start=1):
        kept.save(tree, RunState(step=k, history=[{"loss": 0.5 / k, "bad": float("nan")}]))
    kept.close()
    return folder, trees


def restored(folder, like):
    kept = Checkpoints(folder)
    try:
        return kept.restore(jax.tree.map(np.zeros_like, like))
    finally:
        kept.close()


def largest(folder: Path) -> Path:
    return max((f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def damage_checkpoint(folder, byte):
    """Flip a bit of the weights."""
    file = largest(folder)
    content = bytearray(file.read_bytes())
    content[byte] ^= 1
    file.write_bytes(bytes(content))


def test_training_goes_on_from_the_last_checkpoint_that_is_sound(checkpoints, tmp_path, rng):
    folder, trees = checkpoints
    for number in range(6):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        damage_checkpoint(copy / "1", int(rng.integers(largest(copy / "1").stat().st_size)))
        tree, progress = restored(copy, trees[0])
        expected = trees[progress.step - 1]
        assert jax.tree.all(jax.tree.map(np.array_equal, tree, expected)), number
    copy = tmp_path / "progress"
    shutil.copytree(folder, copy)
    assert restored(copy, trees[0])[1].step == 2
    file = copy / "1/progress/metadata"
    progress = json.loads(file.read_text())
    file.write_text(json.dumps({**progress, "step": 3}))
    assert restored(copy, trees[0])[1].step == 1


def test_training_does_not_begin_anew_where_all_checkpoints_are_damaged(checkpoints, tmp_path):
    folder, trees = checkpoints
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for step in ("0", "1"):
        (copy / step / "progress/metadata").write_text("{}")
    with pytest.raises(CannotCreateError, match="none of the checkpoints can be read"):
        restored(copy, trees[0])


def test_no_bit_of_a_part_hides_what_is_in_it(tmp_path):
    """The list at the end of a zip file has no checksum."""
    partial = PartialStore(tmp_path / "x.zarr", MADE)
    arrays = {"a/b": np.arange(3), "c": np.ones((2, 2)), "d": np.zeros(1)}
    partial.write_part(0, arrays)
    file = partial.folder / "000000.npz"
    content = file.read_bytes()
    refused = 0
    for place in range(content.index(b"PK\1\2"), len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            file.write_bytes(bytes(damaged))
            parts = Parts(partial.folder, partial.token)
            try:
                with parts.open_part(0) as found:
                    assert found.keys() == arrays.keys(), (place, bit)
                    assert all(np.array_equal(found[key], arrays[key]) for key in arrays)
            except TryAgainError:
                refused += 1
    assert refused > 500


def test_no_damage_to_how_a_run_was_begun_is_believed(tmp_path):
    PartialStore(tmp_path / "x.zarr", MADE)
    file = tmp_path / "x.zarr.partial/run.json"
    content = file.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 7
        for found in (bytes(damaged), content[:place]):
            file.write_bytes(found)
            with pytest.raises(CannotCreateError, match=r"is damaged|no run of gh-tools left it"):
                PartialStore(tmp_path / "x.zarr", MADE, resume=True)
    file.write_bytes(content)
    PartialStore(tmp_path / "x.zarr", MADE, resume=True)
