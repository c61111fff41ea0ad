"""Numbers that are none, none left, or too large, in options and configurations: one sentence each."""

import json

import pytest
from ase import Atoms

from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures, write_structures


@pytest.fixture
def folder(tmp_path):
    """A folder with a store of a helium atom."""
    write_structures(tmp_path / "x.zarr", Structures([Atoms("He")], ["he"]), Provenance("test"))
    return tmp_path


@pytest.mark.parametrize("line", [
    "gh-build wse2 --seed -1",
    "gh-build wse2 --seed 99999999999999999999",
    "gh-build wse2 -n 0",
    "gh-build wse2 -n -3",
    "gh-build wse2 -j 0",
    "gh-build wse2 --every 0",
    "gh-build wse2 --set rattle=nan",
    "gh-build wse2 --set rattle=inf",
    "gh-build wse2 --set minimum_distance=inf",
    "gh-build agau --anneal emt --set anneal.temperatures=[300,nan]",
    "gh-build file.xyz --set images=all",
    "gh-label x.zarr --set h=inf",
    "gh-label x.zarr --set charge=nan",
    "gh-label x.zarr --set vacuum=inf",
    "gh-label x.zarr --set smearing=nan",
    "gh-label x.zarr --set hubbard.He.s=nan",
    "gh-label x.zarr --set spin=collinear --set magmoms.He=inf",
    "gh-label x.zarr --set threshold=inf",
    "gh-label x.zarr --set kpts=[0,1,1]",
    "gh-label x.zarr --shard 0/0",
    "gh-label x.zarr --shard=-1/2",
    "gh-label x.zarr --shard 3/2",
    "gh-fit-scaleshift x.zarr --seed -1",
    "gh-train x.zarr --seed -1",
    "gh-train x.zarr --set seed=-1",
    "gh-train x.zarr --set seed=99999999999999999999",
    "gh-train x.zarr --ensemble 0",
    "gh-train x.zarr --budget nan",
    "gh-train x.zarr --budget inf",
    "gh-train x.zarr --budget=-5m",
    "gh-train x.zarr --set optimizer.learning_rate=inf",
    "gh-train x.zarr --set model.cutoff=inf",
    "gh-train x.zarr --set model.model=gears-h --set model.mlp.layers=[0]",
    "gh-dos x.zarr --width inf",
    "gh-dos x.zarr --width nan",
    "gh-dos x.zarr --width 0",
    "gh-dos x.zarr --window -1 inf",
    "gh-dos x.zarr --carrier-window nan 1",
    "gh-dos x.zarr --smearing inf",
    "gh-dos x.zarr --kpt-density nan",
    "gh-dos x.zarr --kpts 0 1 1",
    "gh-dos x.zarr --points 0",
    "gh-dos x.zarr --set seed=-1",
    "gh-bands x.zarr --points 1",
    "gh-bands x.zarr --points 99999999999999",
    "gh-bands x.zarr --window -inf 1",
    "gh-bands x.zarr --window 0 nan",
    "gh-bands x.zarr --kpts 9999999 9999999 9999999",
    "gh-dos x.zarr --kpts 9999999 9999999 9999999",
    "gh-dos x.zarr --kpt-density 1e300",
    "gh-label x.zarr --set h=1e-9",
    "gh-label x.zarr --set vacuum=1e9",
    "gh-label x.zarr --set kpoint_density=1e300",
    "gh-label x.zarr --set kpts=[9999999,1,1]",
    "gh-bayes 'y ~ x' x.zarr --seed -1",
])  # fmt: skip
def test_numbers_that_make_no_sense(call, folder, line):
    done = call(line, folder)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert [path.name for path in folder.iterdir()] == ["x.zarr"]


@pytest.mark.parametrize(
    "line, message",
    [
        ("gh-build wse2 --set size=[1,1] --set rattle=1e300", "at most 1e+06 Å"),
        ("gh-build wse2 --set size=[1000000,1000000]", "not enough memory"),
    ],
)
def test_structures_that_cannot_be(call, folder, line, message):
    done = call(line, folder)
    assert done.returncode == 65, done
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_all_vacancies_that_a_large_number_asks_for(call, folder):
    done = call("gh-build wse2 --set size=[1,1] --set se_vacancies=1e300 --json -o y.zarr", folder)
    assert (done.returncode, json.loads(done.stdout)["n"]) == (0, 1)


def test_stores_that_are_named_by_where_they_are(call, folder):
    for line in (
        "gh-label . --dry-run",
        "gh-label .. --dry-run",
        "gh-build .",
        "gh-bands .",
        "gh-label /",
    ):
        done = call(line, folder / "x.zarr")
        assert "unexpected" not in done.stderr, (line, done.stderr)
        assert done.stderr.count("error") <= 1
    done = call("gh-label . --dry-run", folder / "x.zarr")
    assert done.returncode == 0
    assert f"{folder}/x.hamiltonians.zarr" in done.stderr


def test_a_byte_order_mark_begins_a_configuration(call, folder):
    (folder / "mark.toml").write_bytes(b"\xef\xbb\xbfrattle = 0.03\n")
    done = call("gh-build wse2 -c mark.toml --print-config", folder)
    assert "rattle = 0.03" in done.stdout
    (folder / "latin.toml").write_bytes("# Å\n".encode("latin1"))
    done = call("gh-build wse2 -c latin.toml --print-config", folder)
    assert (done.returncode, "expected text in UTF-8" in done.stderr) == (2, True)
