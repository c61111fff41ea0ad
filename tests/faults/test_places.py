"""Where outputs may be, files that users name, and inputs that may not be read."""

import os
import shutil
import threading

import pytest

from gh_tools.errors import CannotCreateError, DataError, NoInputError, UsageError
from gh_tools.labels.split import read_split
from gh_tools.outputs.claim import claim, end_claims
from gh_tools.outputs.publish import new_file
from gh_tools.store.hashes import verify_id
from gh_tools.store.partial import PartialStore
from gh_tools.store.read import open_store
from gh_tools.store.structures import write_structures
from tests.faults.cases import call
from tests.faults.jobs import MADE, structures
from tests.faults.test_outputs import everything


@pytest.mark.parametrize("place", ["{store}/x.zarr", "{store}/atoms/x.zarr", "link/x.zarr"])
def test_nothing_is_written_into_a_store(tmp_path, place):
    store = write_structures(tmp_path / "s.zarr", structures(1), MADE)
    (tmp_path / "link").symlink_to(store)
    before = everything(tmp_path)
    path = tmp_path / place.format(store=store)
    for write in (
        lambda: write_structures(path, structures(2), MADE, overwrite=True),
        lambda: PartialStore(path, MADE),
        lambda: claim(path),
        lambda: new_file(path).__enter__(),
    ):
        with pytest.raises(CannotCreateError, match="would lie inside the store"):
            write()
    assert everything(tmp_path) == before
    assert verify_id(open_store(store))


def test_nothing_is_written_into_an_unfinished_store_which_is_removed_in_the_end(tmp_path):
    partial = PartialStore(tmp_path / "s.zarr", MADE)
    with pytest.raises(CannotCreateError, match="would lie inside the store"):
        write_structures(partial.directory / "x.zarr", structures(2), MADE)
    end_claims()


def test_the_installed_commands_write_nothing_into_their_input(small_stores, tmp_path, monkeypatch):
    path = tmp_path / "h.zarr"
    shutil.copytree(small_stores["hamiltonians"], path)
    monkeypatch.chdir(tmp_path)
    for line in (
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o h.zarr/d.zarr",
        "gh-dos h.zarr --kpts 1 1 1 --points 20 -o d.zarr --plot h.zarr/d.png",
        "gh-bands h.zarr --points 3 -o h.zarr/b.json",
    ):
        code, out, err = call(line)
        assert (code, out) == (73, "")
        assert "would lie inside the store" in err
    assert verify_id(open_store(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["h.zarr"]


def test_a_name_of_two_lines_is_refused(tmp_path):
    """The next command of a pipe would read two paths."""
    with pytest.raises(CannotCreateError, match="line break"):
        write_structures(tmp_path / "a\nb.zarr", structures(1), MADE)
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(CannotCreateError, match="line break"):
        claim(tmp_path / "a\nb" / "c.zarr")


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "a\0b"])
def test_a_name_that_no_file_can_have_is_no_input(name):
    with pytest.raises(NoInputError, match=r"cannot be read|no such store"):
        open_store(name)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[" * 100_000, DataError),
        ('{"train": [1e400]}', DataError),
        ('{"train": [' + "9" * 30 + "]}", DataError),
        ('{"train": [-1]}', DataError),
        ('{"train": [true]}', DataError),
        (b"\xff\xfe", UsageError),
        ("", DataError),
    ],
)
def test_a_split_that_cannot_be_one_is_a_sentence(tmp_path, content, error):
    file = tmp_path / "split.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error, match=r"split\.json"):
        read_split(file, ["a", "b"])


def test_a_split_comes_from_a_file_or_a_pipe_and_never_hangs(tmp_path):
    for name in ("/dev/zero", str(tmp_path)):
        with pytest.raises(UsageError, match="found a folder or a device"):
            read_split(name, ["a", "b"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoInputError, match="nobody writes"):
        read_split(tmp_path / "pipe", ["a", "b"])
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=['{"train": ["b"]}'])
    writer.start()
    while not writer.is_alive():
        pass
    # The writer's open and ours meet: whoever comes first, as in a shell's <(...), which is open at once
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer.join()
    assert read_split(tmp_path / "pipe", ["a", "b"]).train.tolist() == [1]
    os.close(reading)
