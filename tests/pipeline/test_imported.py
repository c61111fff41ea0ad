"""The whole chain on data of another program, with GPAW out of reach."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gh_tools.formats import table
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import open_store
from tests.conftest import tiny_configuration
from tests.overlap.gaussians import gaussian_label, silicon

pytest.importorskip("h5py")
ROOT = Path(__file__).parents[2]
# Runs commands one after the other in one process, for which there is no GPAW.
CHAIN = """
import importlib, shlex, sys, tomllib

class NoGPAW:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("gpaw", "_gpaw"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoGPAW())
scripts = tomllib.loads(open(sys.argv[1]).read())["project"]["scripts"]
for line in sys.stdin.read().splitlines():
    name, *arguments = shlex.split(line)
    module, attribute = scripts[name].split(":")
    try:
        getattr(importlib.import_module(module), attribute)(arguments, prog_name=name)
    except SystemExit as stop:
        if stop.code:
            sys.exit(f"{line}: {stop.code}")
assert "gpaw" not in sys.modules
"""
LINES = """gh-import frames --valence Si=4 -o si.hamiltonians.zarr
gh-import large --valence Si=4 -o large.hamiltonians.zarr
gh-fit-scaleshift si.hamiltonians.zarr
gh-train si.scaleshift.zarr -c tiny.toml -o si.model.zarr
gh-infer large.hamiltonians.zarr -m si.model.zarr -o large.predicted.zarr
gh-overlap large.hamiltonians.zarr -b si.scaleshift.zarr -o large.overlap.zarr
gh-eval large.predicted.zarr large.hamiltonians.zarr
gh-dos si.hamiltonians.zarr --kpts 2 2 2
gh-dos large.predicted.zarr --kpts 2 2 2
gh-bands large.predicted.zarr -o large.svg
gh-bayes "fermi_level ~ carriers" si.spectra.zarr --chains 2 --draws 200 --tune 200
"""
TINY = tiny_configuration(epochs=2)


def run(lines, folder):
    return subprocess.run(
        [sys.executable, "-c", CHAIN, str(ROOT / "pyproject.toml")],
        cwd=folder,
        input=lines,
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    (folder / "frames").mkdir()
    for seed in range(6):
        table.get_format("deeptb").write(
            folder / f"frames/{seed}", gaussian_label(silicon(seed=seed))
        )
    table.get_format("deeptb").write(folder / "large", gaussian_label(silicon((2, 1, 1), seed=20)))
    (folder / "tiny.toml").write_text(TINY)
    done = run(LINES, folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_larger_cell_is_predicted_with_its_overlap(made):
    folder, _ = made
    predicted = HamiltonianReader(folder / "large.predicted.zarr").read(0)
    wanted = HamiltonianReader(folder / "large.hamiltonians.zarr").read(0)
    k = np.array([0.1, 0.2, -0.3])
    s, reference = (bloch_matrix(ham, k, "overlap") for ham in (predicted, wanted))
    # A few bonds are longer or shorter than all of the labels.
    assert np.abs(s - reference).max() < 1e-2 and np.mean(np.abs(s - reference)) < 1e-4
    assert predicted.scalars["n_electrons"] == 4 * 16
    overlap = HamiltonianReader(open_store(folder / "large.overlap.zarr", "overlap")).read(0)
    assert np.abs(bloch_matrix(overlap, k, "overlap") - s).max() < 1e-6


def test_labels_alone_give_s_of_new_structures(made):
    folder, _ = made
    line = "gh-overlap large.hamiltonians.zarr -b si.hamiltonians.zarr -o direct.overlap.zarr"
    done = run(line, folder)
    assert done.returncode == 0 and "S of DeePTB is of two-centre form within" in done.stderr
    k = np.array([0.1, 0.2, -0.3])
    found = HamiltonianReader(open_store(folder / "direct.overlap.zarr", "overlap")).read(0)
    wanted = HamiltonianReader(folder / "large.hamiltonians.zarr").read(0)
    apart = np.abs(bloch_matrix(found, k, "overlap") - bloch_matrix(wanted, k, "overlap"))
    assert apart.max() < 1e-2 and apart.mean() < 1e-4


def test_what_is_known_of_s_is_told_and_stored(made):
    folder, done = made
    assert "S of DeePTB is of two-centre form within" in done.stderr
    told = open_store(folder / "si.scaleshift.zarr").attributes["overlap"]
    assert told["deviation"] < 1e-12 and told["held_out"] < 1e-4
    near, far = told["distances"]["14-14"]
    assert 1.9 < near < 2.3 and 5.5 < far < 5.8


def test_unknown_electrons_are_asked_for(made, tmp_path):
    folder, _ = made
    lines = f"gh-import {folder / 'frames'} -o si.hamiltonians.zarr\n"
    done = run(lines, tmp_path)
    assert done.returncode == 0 and "--valence Si=N" in done.stderr
    done = run("gh-dos si.hamiltonians.zarr", tmp_path)
    assert done.returncode == 1 and "valence electrons of Si is not known" in done.stderr
    assert "DeePTB" in done.stderr
    done = run("gh-fit-scaleshift si.hamiltonians.zarr\ngh-train si.scaleshift.zarr", tmp_path)
    assert done.returncode == 1 and "valence electrons of Si is not known" in done.stderr
    assert not list(tmp_path.glob("*.model.zarr*"))


def test_messages_name_the_program(made):
    folder, _ = made
    done = run("gh-overlap large.hamiltonians.zarr -b si.model.zarr -o x.overlap.zarr", folder)
    assert done.returncode == 0, done.stderr
    attributes = json.loads((folder / "si.hamiltonians.zarr" / "zarr.json").read_text())
    assert attributes["attributes"]["code"] == "DeePTB"
