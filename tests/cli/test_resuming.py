"""--resume with the store's name alone, after kill -9 or before: commands whose own tests do not do so already."""

import io

import numpy as np
import pytest

from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures


@pytest.fixture(autouse=True)
def nothing_piped(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))


@pytest.fixture
def cells(gh, tiny_labels):
    """A store of larger cells, so many that a run lasts until it is killed."""
    atoms = read_structures(tiny_labels).atoms[0].repeat((3, 3, 1))
    copies = [atoms.copy() for _ in range(8)]
    for number, one in enumerate(copies):
        one.rattle(0.01, seed=number)
    names = [f"cell-{number}" for number in range(8)]
    return write_structures(
        gh.folder / "x.structures.zarr", Structures(copies, names), Provenance("gh-build")
    )


@pytest.mark.parametrize("program, kind", [("gh-overlap", "overlap"), ("gh-infer", "hamiltonians")])
def test_after_kill_9_the_name_is_enough(gh, call, cells, random_model, program, kind):
    option = {"gh-overlap": f"--basis {random_model}", "gh-infer": f"-m {random_model}"}[program]
    line = f"{program} x.structures.zarr {option} -q"
    killed = gh(
        f"{line} -o x.zarr & until ls x.zarr.partial/run.json; do sleep 0.01; done; kill -9 $!; wait $!"
    )
    assert killed.returncode == 137
    assert not (gh.folder / "x.zarr").exists()
    elsewhere = gh.folder / "sub"
    elsewhere.mkdir()
    resumed = call(f"{program} --resume -o ../x.zarr -q", elsewhere)
    assert (resumed.returncode, resumed.stdout) == (0, "../x.zarr\n"), resumed.stderr
    assert call(f"{line} -o whole.zarr", gh.folder).returncode == 0
    found, whole = (open_store(gh.folder / f"{name}.zarr", kind) for name in ("x", "whole"))
    assert found.id == whole.id
    # A finished store is left as it is.
    again = call(f"{program} --resume -o x.zarr -q", gh.folder)
    assert (again.returncode, again.stdout) == (0, "x.zarr\n"), again.stderr
    assert not (gh.folder / "x.zarr.partial").exists()


def test_what_cannot_be_gone_on_with_is_told(call, tmp_path, tiny_labels):
    line = f"gh-dos {tiny_labels} --kpts 1 1 1 --set points=300 -q -o x.zarr"
    assert call(line, tmp_path).returncode == 0
    for options, code, said in (
        ("gh-dos --resume -o y.zarr", 66, "no run to go on with"),
        ("gh-label --resume -o x.zarr", 2, "made by gh-dos, not by gh-label"),
        # An option that would give other numbers is refused, and told by name.
        ("gh-dos --resume -o x.zarr --set width=0.2", 73, "width"),
    ):
        done = call(options, tmp_path)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert len(done.stderr.splitlines()) == 1
    before = np.asarray(open_store(tmp_path / "x.zarr")["dos/total"])
    assert call("gh-dos --resume -o x.zarr -q", tmp_path).returncode == 0
    np.testing.assert_array_equal(open_store(tmp_path / "x.zarr")["dos/total"], before)


def test_an_input_that_has_gone_is_named(call, tmp_path, tiny_labels):
    (tmp_path / "l.zarr").symlink_to(tiny_labels)
    assert (
        call("gh-dos l.zarr --kpts 1 1 1 --set points=300 -q -o x.zarr", tmp_path).returncode == 0
    )
    (tmp_path / "l.zarr").unlink()
    done = call("gh-dos --resume -o x.zarr", tmp_path)
    assert done.returncode == 66
    assert "l.zarr" in done.stderr
