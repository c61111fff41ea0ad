"""gh-import and gh-export as a user runs them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gh_tools.formats import table
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import open_store
from tests.cli.conftest import call, shell  # noqa: F401, fixtures
from tests.formats.sample import sample
from tests.formats.test_formats import eigenvalues

pytest.importorskip("h5py")
pytest.importorskip("sisl")
BIN = Path(sys.executable).parent


def small():
    """Without f shells: files of wannier90 are large."""
    return sample(degrees={6: (0, 1, 0), 42: (0, 2)})


@pytest.fixture
def tree(tmp_path):
    """A tree of folders with one Hamiltonian in two formats, and folders that hold none."""
    ham = small()
    (tmp_path / "runs" / "a group").mkdir(parents=True)
    for name in ("deeph", "deeph-legacy"):
        table.get_format(name).write(tmp_path / "runs" / "a group" / name, ham)
    table.get_format("deeph").write(tmp_path / "runs" / "b", ham)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "info.json").write_text("{}")
    return tmp_path


def read(store):
    reader = HamiltonianReader(store)
    return [reader.read(index) for index in range(len(reader))]


def test_a_tree_of_several_formats_becomes_one_store(call, tree):  # noqa: F811
    done = call("gh-import runs -o all.hamiltonians.zarr --json", tree)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["asymmetry"] < 1e-12 and told["dropped"] == 0
    names = HamiltonianReader(tree / "all.hamiltonians.zarr").structures.names
    assert names == ["a group/deeph", "a group/deeph-legacy", "b"]
    wanted = eigenvalues(small())
    for found in read(tree / "all.hamiltonians.zarr"):
        assert np.abs(eigenvalues(found) - wanted).max() < 1e-9
    checked = call("gh-info --deep all.hamiltonians.zarr", tree)
    assert checked.returncode == 0, checked.stderr


def test_neighbours_in_an_orthonormal_basis_need_not_overlap(call, tmp_path):  # noqa: F811
    """Of a store without S, gh-info --deep asks for none."""
    table.get_format("deeptb").write(tmp_path / "frames", sample())
    (tmp_path / "frames" / "overlaps.h5").unlink()
    done = call("gh-import frames --valence C=4,Mo=6 -o a.hamiltonians.zarr -q", tmp_path)
    assert done.returncode == 0, done.stderr
    assert open_store(tmp_path / "a.hamiltonians.zarr").attributes["orthogonal"]
    checked = call("gh-info --deep a.hamiltonians.zarr", tmp_path)
    assert checked.returncode == 0, checked.stderr


def test_patterns_names_of_formats_and_a_file(call, tree):  # noqa: F811
    done = call("gh-import deeph 'runs/*/d*h' -o one.hamiltonians.zarr -q", tree)
    assert (done.returncode, done.stdout) == (0, "one.hamiltonians.zarr\n"), done.stderr
    assert len(read(tree / "one.hamiltonians.zarr")) == 1
    # What else a pattern meets is passed over, unless that is all.
    (tree / "runs" / "README").write_text("notes")
    done = call("gh-import deeph 'runs/*' -o two.hamiltonians.zarr -q", tree)
    assert done.returncode == 0 and len(read(tree / "two.hamiltonians.zarr")) == 2, done.stderr
    done = call("gh-import deeph runs/b runs/README -o none.hamiltonians.zarr", tree)
    assert done.returncode == 66 and "runs/README: no H and S" in done.stderr
    done = call("gh-import 'runs/[R]*' -o none.hamiltonians.zarr", tree)
    assert done.returncode == 66 and "runs/[R]*: no H and S" in done.stderr
    done = call("gh-import runs --format openmx -o none.hamiltonians.zarr", tree)
    assert done.returncode == 66 and "looking for OpenMX" in done.stderr
    done = call("gh-import runs --format siest -o none.hamiltonians.zarr", tree)
    assert done.returncode == 2 and "there is no format called 'siest'" in done.stderr
    done = call("gh-import 'nothing-*' -o none.hamiltonians.zarr", tree)
    assert done.returncode == 66 and "nothing-*: there is no such file" in done.stderr
    assert not list(tree.glob("none*"))


def test_what_is_there_is_replaced_only_where_asked(call, tree):  # noqa: F811
    line = "gh-import runs -o all.hamiltonians.zarr -q"
    assert call(line, tree).returncode == 0
    first = open_store(tree / "all.hamiltonians.zarr").id
    again = call(line, tree)
    assert again.returncode == 73 and "exists already" in again.stderr
    shutil.rmtree(tree / "runs" / "b")
    assert call(f"{line} --overwrite", tree).returncode == 0
    assert open_store(tree / "all.hamiltonians.zarr").id != first
    assert len(read(tree / "all.hamiltonians.zarr")) == 2


def test_a_damaged_structure_does_not_stop_the_others(call, tree):  # noqa: F811
    file = tree / "runs" / "a group" / "deeph" / "hamiltonian.h5"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    done = call("gh-import runs -j 2 -o all.hamiltonians.zarr", tree)
    assert done.returncode == 75
    said = [line for line in done.stderr.splitlines() if "a group/deeph" in line]
    assert any("runs/a group/deeph" in line and "truncated" in line for line in said)
    assert "Traceback" not in done.stderr
    assert len(read(tree / "all.hamiltonians.zarr")) == 2
    file.write_bytes(whole)
    (tree / "elsewhere").mkdir()
    done = call("gh-import --resume -o ../all.hamiltonians.zarr", tree / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert len(read(tree / "all.hamiltonians.zarr")) == 3


def test_where_nothing_can_be_read_nothing_is_left(call, tree):  # noqa: F811
    (tree / "graphs").mkdir()
    (tree / "graphs" / "graph_data.npz").write_bytes(b"PK")
    (tree / "base.lmdb").mkdir()
    (tree / "base.lmdb" / "data.mdb").write_bytes(b"")
    for place in ("graphs", "base.lmdb"):
        done = call(f"gh-import {place} -o x.hamiltonians.zarr", tree)
        assert done.returncode == 65
        assert "pickle" in done.stderr and "import the files of the DFT program" in done.stderr
        assert not list(tree.glob("x.hamiltonians.zarr*"))


def test_bases_that_differ_are_named(call, tree):  # noqa: F811
    other = tree / "runs" / "other"
    table.get_format("deeph").write(other, small())
    info = json.loads((other / "info.json").read_text())
    info["elements_orbital_map"]["C"] = [1, 0, 0]
    (other / "info.json").write_text(json.dumps(info))
    done = call("gh-import runs -o x.hamiltonians.zarr", tree)
    assert done.returncode == 65
    assert "expected s p s, found p s s" in done.stderr and "of their own" in done.stderr


def test_a_killed_run_goes_on_and_gives_the_same(tmp_path, shell):  # noqa: F811
    for index in range(8):
        table.get_format("abacus").write(tmp_path / f"runs-{index}", sample(seed=index))
    runs = (f"runs-{index}" for index in range(8))
    line = ["gh-import", *runs, "--valence", "C=4,Mo=6", "-j", "2", "-q"]
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    target = tmp_path / "x.hamiltonians.zarr"
    run = subprocess.Popen(
        [*line, "-o", target.name], cwd=tmp_path, env=environment, start_new_session=True
    )
    partial = target.with_name(f"{target.name}.partial")
    while run.poll() is None and not list(partial.glob("parts/0*.npz")):
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not target.exists() and partial.exists()
    command = " ".join(line)
    again = shell(f"{command} -o {target.name}", tmp_path)
    assert again.returncode == 73 and "--resume" in again.stderr
    done = shell(f"gh-import -o {target.name} --resume -q", tmp_path)
    assert done.returncode == 0, done.stderr
    assert not partial.exists()
    whole = shell(f"{command} -o whole.hamiltonians.zarr", tmp_path)
    assert whole.returncode == 0
    assert open_store(target).id == open_store(tmp_path / "whole.hamiltonians.zarr").id


def test_valence_electrons_that_no_file_tells(call, tmp_path):  # noqa: F811
    table.get_format("deeptb").write(tmp_path / "frames", sample())
    done = call("gh-import frames --valence C=4,Mo=6 -o a.hamiltonians.zarr -q", tmp_path)
    assert done.returncode == 0, done.stderr
    basis = HamiltonianReader(tmp_path / "a.hamiltonians.zarr").basis
    assert (basis[6].n_valence, basis[42].n_valence) == (4, 6)
    for wrong in ("C", "C=0", "Xx=3", "C=7"):
        done = call(f"gh-import frames --valence {wrong} -o b.hamiltonians.zarr", tmp_path)
        assert done.returncode == 2 and "Mo=14,Te=16" in done.stderr
    done = call("gh-import frames --valence Si=4 -o b.hamiltonians.zarr", tmp_path)
    assert done.returncode == 65 and "there is no Si" in done.stderr


@pytest.mark.parametrize(
    "form", ["deeph", "deeph-legacy", "deeptb", "abacus", "sisl", "wannier90", "npz"]
)
def test_exports_are_folders_or_files_and_are_replaced_only_where_asked(call, tree, form):  # noqa: F811
    assert call("gh-import runs -o all.hamiltonians.zarr -q", tree).returncode == 0
    line = f"gh-export all.hamiltonians.zarr --to {form} -o out -q"
    done = call(line, tree)
    assert (done.returncode, done.stdout) == (0, "out\n"), done.stderr
    assert len(list((tree / "out").iterdir())) == 3  # the group, b and the manifest
    assert call(line, tree).returncode == 73
    assert call(f"{line} --overwrite", tree).returncode == 0
    (tree / "mine").mkdir()
    (tree / "mine" / "thesis.tex").write_text("x")
    done = call(line.replace("-o out", "-o mine") + " --overwrite", tree)
    assert done.returncode == 73 and (tree / "mine" / "thesis.tex").exists()


def test_matrices_of_another_structure_are_refused(call, tmp_path):  # noqa: F811
    """One atom is moved by 3 Å, or to where no atom can be: neighbours of the files have no overlap then."""
    table.get_format("deeph-legacy").write(tmp_path / "program", sample())
    file = tmp_path / "program/site_positions.dat"
    text = file.read_text()
    positions = np.loadtxt(file)
    for moved, said in (
        (0.0, "matrices do not belong to the structure"),
        (1e300, "position of atom"),
    ):
        changed = positions.copy()
        changed[0, 3] = moved
        np.savetxt(file, changed)
        done = call("gh-import program -o y.zarr", tmp_path)
        assert done.returncode == 65, done.stderr
        assert said in done.stderr and "Warning" not in done.stderr
        assert not (tmp_path / "y.zarr").exists()
    file.write_text(text)
    assert call("gh-import program -o y.zarr", tmp_path).returncode == 0
