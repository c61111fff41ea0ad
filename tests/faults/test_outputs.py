"""What an output may replace, what it leaves behind, and that it is on disk."""

import json
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import zarr

from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_structures
from gh_tools.errors import CannotCreateError, TryAgainError, UsageError
from gh_tools.inference.domain_size import DOMAIN_BYTES, choose_size, domain_memory
from gh_tools.outputs import claim as claims
from gh_tools.outputs import publish as publication
from gh_tools.outputs.claim import claim
from gh_tools.outputs.publish import new_file
from gh_tools.plotting import picture
from gh_tools.store.partial import PartialStore
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures, write_structures
from tests.commands.server import forked
from tests.faults.jobs import MADE, filled, structures

DEAD = 2**22 + 1  # above the largest number that Linux gives a process


def build(folder, *options):
    line = "wse2 --set size=[1,1] --set orthogonal=false -o x.zarr"
    command = [forked() / "gh-build", *line.split(), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def everything(folder):
    """Names, kinds and contents of all below a folder."""
    return {
        entry.relative_to(folder): (
            stat.S_IFMT(entry.lstat().st_mode),
            os.readlink(entry) if entry.is_symlink() else entry.is_file() and entry.read_bytes(),
        )
        for entry in folder.rglob("*")
    }


def a_file(path):
    path.write_text("precious")


def a_pipe(path):
    os.mkfifo(path)


def an_empty_folder(path):
    path.mkdir()


def a_folder(path):
    path.mkdir()
    (path / "precious").write_text("1")


def a_foreign_zarr_group(path):
    zarr.open_group(path, mode="w").create_array("x", data=np.ones(3))


def a_link_to_a_store(path):
    write_structures(path.with_name("other.zarr"), structures(1), MADE)
    path.symlink_to("other.zarr")


def a_dangling_link(path):
    path.symlink_to("nowhere.zarr")


def a_link_to_a_folder(path):
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    "make",
    [
        a_file,
        a_pipe,
        an_empty_folder,
        a_folder,
        a_foreign_zarr_group,
        a_link_to_a_store,
        a_dangling_link,
    ],
)
def test_nothing_but_a_store_is_replaced(tmp_path, make):
    make(tmp_path / "x.zarr")
    before = everything(tmp_path)
    for write in (
        lambda: write_structures(tmp_path / "x.zarr", structures(2), MADE, overwrite=True),
        lambda: write_structures(tmp_path / "x.zarr", structures(2), MADE, resume=True),
        lambda: PartialStore(tmp_path / "x.zarr", MADE, overwrite=True),
        lambda: PartialStore(tmp_path / "x.zarr", MADE, resume=True),
    ):
        with pytest.raises(CannotCreateError, match="no store of gh-tools"):
            write()
    assert everything(tmp_path) == before


@pytest.mark.parametrize("make", [a_file, a_folder, a_link_to_a_folder, a_dangling_link])
def test_nothing_but_an_unfinished_store_is_gone_on_with(tmp_path, make):
    make(tmp_path / "x.zarr.partial")
    before = everything(tmp_path)
    for options in ({"overwrite": True}, {"resume": True}, {"shared": True}, {}):
        with pytest.raises(CannotCreateError, match="no run of gh-tools left it"):
            PartialStore(tmp_path / "x.zarr", MADE, **options)
    assert everything(tmp_path) == before


def test_gh_build_refuses_a_folder_with_code_73(tmp_path):
    a_folder(tmp_path / "x.zarr")
    before = everything(tmp_path)
    done = build(tmp_path, "--overwrite")
    assert (done.returncode, done.stdout) == (73, "")
    assert "x.zarr: a folder is there, and no store of gh-tools" in done.stderr
    assert everything(tmp_path) == before


def test_a_link_in_place_of_logs_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "x.zarr.logs").symlink_to("elsewhere")
    with pytest.raises(CannotCreateError, match="is not followed"):
        label_structures(tmp_path / "x.zarr", structures(1), LabelConfig(), MADE)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_damaged_store_can_be_replaced(tmp_path):
    path = write_structures(tmp_path / "x.zarr", structures(1), MADE)
    shutil.rmtree(path / "atoms")
    write_structures(path, structures(2), MADE, overwrite=True)
    assert "atoms/position" in open_store(path)


def test_litter_of_dead_runs_is_swept_and_nothing_else(tmp_path):
    store = write_structures(tmp_path / "store.zarr", structures(1), MADE)
    for litter in (
        ".x.zarr.abcd1234/new",
        ".x.zarr.dead_run/store",
        f".x.zarr.replaced-{DEAD}",
        ".x.zarr.efgh5678/partial",
        ".x.zarr.ijkl9012/old",
    ):
        shutil.copytree(store, tmp_path / litter)
    (tmp_path / ".x.zarr.gh-lock").write_text(json.dumps({"pid": DEAD, "host": "elsewhere"}))
    kept = [
        f".x.zarr.replaced-{os.getpid()}",  # its run is alive
        ".y.zarr.abcd1234/new",  # of another output
        ".x.zarr.old.abcd1234/new",
        ".x.zarr.my_notes/notes",
        "x.zarr.abcd1234/new",
    ]
    for name in kept:
        (tmp_path / name).mkdir(parents=True)
    write_structures(tmp_path / "x.zarr", structures(2), MADE, overwrite=True)
    found = {entry.name for entry in tmp_path.iterdir()}
    assert found == {"store.zarr", "x.zarr", *(name.split("/")[0] for name in kept)}


def test_shards_leave_the_staging_of_others_alone(tmp_path):
    (tmp_path / ".x.zarr.abcd1234/new").mkdir(parents=True)
    PartialStore(tmp_path / "x.zarr", MADE, shared=True)
    assert (tmp_path / ".x.zarr.abcd1234/new").exists()


@pytest.mark.parametrize("litter", [".x.zarr.abcd1234/old", f".x.zarr.replaced-{DEAD}"])
def test_what_was_moved_aside_goes_back_if_its_successor_never_came(tmp_path, litter):
    store = write_structures(tmp_path / "x.zarr", structures(1), MADE)
    identity = open_store(store).id
    (tmp_path / litter).parent.mkdir(exist_ok=True)
    store.rename(tmp_path / litter)
    with pytest.raises(CannotCreateError, match="another store than this run has made"):
        write_structures(store, structures(2), MADE, resume=True)
    assert open_store(store).id == identity
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.zarr"]


@pytest.fixture
def old_kernel(monkeypatch):
    """A file system that can neither rename without replacing nor exchange, such as NFS."""

    def refuse(*arguments):
        raise publication._Unsupported

    monkeypatch.setattr(publication, "_renameat2", refuse)


def test_file_systems_without_exchange(old_kernel, tmp_path):
    path = tmp_path / "x.zarr"
    write_structures(path, structures(1), MADE)
    identity = open_store(path).id
    write_structures(path, structures(2), MADE, overwrite=True)
    assert open_store(path).id != identity
    partial = PartialStore(tmp_path / "y.zarr", MADE)
    shutil.copytree(path, tmp_path / "y.zarr")
    with pytest.raises(CannotCreateError, match="has appeared"):
        partial.publish("structures", filled(2))
    assert open_store(tmp_path / "y.zarr").id == open_store(path).id
    file = tmp_path / "f"
    with pytest.raises(CannotCreateError, match="exists already"), new_file(file, False) as f:
        f.write_text("new")
        file.write_text("appeared")
    assert file.read_text() == "appeared"
    del partial
    assert not list(tmp_path.glob(".*"))


def test_file_systems_without_locks(monkeypatch, tmp_path, caplog):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(claims.fcntl, "flock", refuse)
    monkeypatch.setattr(claims.log, "propagate", True)
    (tmp_path / ".x.zarr.abcd1234/new").mkdir(parents=True)
    write_structures(tmp_path / "x.zarr", structures(1), MADE)
    assert "has no locks" in caplog.text
    # Whose it is cannot be known.
    assert (tmp_path / ".x.zarr.abcd1234/new").exists()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("1")
    (tmp_path / ".x.zarr.gh-lock").symlink_to("precious")
    with pytest.raises(CannotCreateError, match="cannot be opened"):
        write_structures(tmp_path / "x.zarr", structures(1), MADE)
    assert (tmp_path / "precious").read_text() == "1"


def test_claims_of_one_process(tmp_path):
    """Parts of one process share its claim, and publication ends it for all of them."""
    path = tmp_path / "x.zarr"
    first, second = claim(path), claim(path)
    first.drop()
    assert list(tmp_path.iterdir()) != []
    second.end()
    assert list(tmp_path.iterdir()) == []
    third = claim(path, shared=True)
    second.drop()  # of a claim that has ended: nothing
    assert list(tmp_path.iterdir()) != []
    assert claim(path).shared is False  # alone now
    third.end()


def test_everything_is_on_disk_before_it_has_a_name(tmp_path, monkeypatch):
    synced, fsync = {}, os.fsync
    path = tmp_path / "x.zarr"

    def spy(descriptor):
        synced[os.fstat(descriptor).st_ino] = path.exists()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_structures(path, structures(1), MADE)
    for entry in (path, *path.rglob("*")):
        assert synced[entry.stat().st_ino] is False, entry
    assert synced[tmp_path.stat().st_ino] is True  # the name itself


def test_modes_are_those_of_any_new_file(tmp_path):
    code = (
        "import os; os.umask(0o027)\n"
        "from tests.faults.jobs import write\n"
        "from gh_tools.outputs.publish import new_file\n"
        "from pathlib import Path\n"
        "write('x.zarr', 1, False)\n"
        "with new_file(Path('f')) as new: new.write_text('1')\n"
    )
    root = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env=os.environ | root)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*") if p.is_dir()}
    assert modes == {0o750}
    modes = {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*") if p.is_file()}
    assert modes == {0o640}


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_dangling_link])
def test_pictures_replace_files_alone(tmp_path, make):
    make(tmp_path / "x.png")
    before = everything(tmp_path)
    with pytest.raises(CannotCreateError, match="name another file"), picture(tmp_path / "x.png"):
        pass
    assert everything(tmp_path) == before
    with picture(tmp_path / "y.png") as (_, axes):
        axes.plot([0, 1])
    content = (tmp_path / "y.png").read_bytes()
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "y.png"):
        raise ZeroDivisionError
    assert (tmp_path / "y.png").read_bytes() == content
    assert not list(tmp_path.glob(".*"))


def test_two_inputs_with_one_output_and_outputs_that_are_inputs(tmp_path):
    for name in ("a.structures.zarr", "a.zarr", "b.zarr"):
        write_structures(tmp_path / name, structures(1), MADE)
    before = everything(tmp_path)

    def refused(*command):
        command = [forked() / command[0], *command[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (2, "")
        assert everything(tmp_path) == before
        return done.stderr

    assert "a.structures.zarr and a.zarr would both become a.hamiltonians.zarr" in refused(
        "gh-label", "a.structures.zarr", "a.zarr"
    )
    assert "would be read and replaced" in refused(
        "gh-label", "b.zarr", "--overwrite", "-o", "../" + tmp_path.name + "/b.zarr"
    )


def test_the_memory_that_a_run_had_is_enough_to_go_on(tmp_path):
    """What a process takes itself varies from run to run, and is subtracted from the memory that was given."""
    memory = 2**31
    free = 2.0 * domain_memory(DOMAIN_BYTES[0]) + 1
    for name, first, second in (("little", free, 0.9 * free), ("more", 9 * free, 5 * free)):
        file = tmp_path / name
        begun, _ = choose_size(file, memory, first, 1)
        assert choose_size(file, memory, second, 1) == (begun, 1)
    with pytest.raises(UsageError, match="was divided for more memory"):
        choose_size(tmp_path / "more", memory - 1, 0.5 * free, 1)


def test_a_finished_claim_lets_others_in(processes, tmp_path):
    held = claim(tmp_path / "x.zarr")
    assert processes.run("write", tmp_path / "x.zarr", 1, False) == TryAgainError.exit_code
    held.drop()
    assert processes.run("write", tmp_path / "x.zarr", 1, False) == 0


def test_an_unfinished_store_of_an_earlier_version_is_gone_on_with(tmp_path):
    partial = PartialStore(tmp_path / "x.zarr", MADE)
    partial.write_part(0, {"x": np.zeros(1)})
    del partial
    file = tmp_path / "x.zarr.partial/run.json"
    run = json.loads(file.read_text())
    del run["replaces"], run["notes"], run["crc32"]
    file.write_text(json.dumps(run))
    assert PartialStore(tmp_path / "x.zarr", MADE, resume=True).has_part(0)


def test_the_store_that_an_interrupted_run_was_to_replace_is_replaced_when_it_goes_on(tmp_path):
    """As make does it: --overwrite, and --resume once there is something unfinished."""
    path = write_structures(tmp_path / "x.zarr", structures(1), MADE)
    PartialStore(path, MADE, overwrite=True)
    PartialStore(path, MADE, resume=True).publish("structures", filled(2))
    assert read_structures(path).atoms[0].positions[1, 2] == 2
