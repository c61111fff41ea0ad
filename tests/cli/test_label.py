"""gh-label through a shell: several at once, interruption, failure and resumption, all with GPAW."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib

import ase
import numpy as np
import psutil
import pytest

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import label_structure
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Column, Structures, write_structures

from .conftest import BIN

COARSE = "--set h=0.3 --set vacuum=3.0"
BONDS = (0.7, 0.75, 0.8)


def write_molecules(folder, bonds=BONDS):
    atoms = [ase.Atoms("H2", [(0, 0, 0), (0, 0, d)]) for d in bonds]
    columns = {"bond": Column(np.array(bonds), "Å", "length of the bond")}
    names = [f"h2-{k}" for k in range(len(bonds))]
    structures = Structures(atoms, names, columns)
    return write_structures(folder / "h2.structures.zarr", structures, Provenance("test"))


@pytest.fixture(scope="module")
def labelled(shell, tmp_path_factory):
    """Three molecules labelled by two workers, and what the command said."""
    folder = tmp_path_factory.mktemp("labelled")
    write_molecules(folder)
    line = f"echo h2.structures.zarr | gh-label {COARSE} -j 2 --json"
    return folder, shell(line, folder)


def test_several_at_once_through_a_pipe(labelled, tmp_path):
    folder, done = labelled
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"path": "h2.hamiltonians.zarr", "failed": []}
    assert sorted(p.name for p in folder.iterdir()) == [
        "h2.hamiltonians.zarr",
        "h2.structures.zarr",
    ]

    reader = HamiltonianReader(folder / "h2.hamiltonians.zarr")
    assert reader.names == ["h2-0", "h2-1", "h2-2"]
    np.testing.assert_array_equal(reader.structures.columns["bond"].values, BONDS)
    assert not reader.predicted
    assert [entry["program"] for entry in reader.store.history] == ["test", "gh-label"]
    assert reader.store.history[-1]["config"]["h"] == 0.3

    config = LabelConfig(h=0.3, vacuum=3.0)
    atoms = ase.Atoms("H2", [(0, 0, 0), (0, 0, BONDS[2])])
    alone = label_structure(atoms, config, basis_table(config, [1]), tmp_path / "gpaw.txt")
    stored = reader.read(2)
    # The same program on the same numbers: what remains is the order of floating-point sums.
    for key, blocks in alone.groups():
        other = dict(stored.groups())[key]
        np.testing.assert_allclose(other.hamiltonian, blocks.hamiltonian, atol=1e-9)
        np.testing.assert_allclose(other.overlap, blocks.overlap, atol=1e-12)
    assert stored.scalars == pytest.approx(alone.scalars, abs=1e-8)


def test_an_existing_store_is_kept(labelled, shell):
    folder, _ = labelled
    before = (folder / "h2.hamiltonians.zarr/zarr.json").read_bytes()
    done = shell(f"gh-label h2.structures.zarr {COARSE}", folder)
    assert done.returncode == 73
    assert "--overwrite" in done.stderr
    done = shell(f"gh-label h2.structures.zarr {COARSE} --resume -q", folder)
    assert (done.returncode, done.stdout) == (0, "h2.hamiltonians.zarr\n"), done.stderr
    assert (folder / "h2.hamiltonians.zarr/zarr.json").read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def start(folder):
    """Begin to label in a process of its own, and wait until one structure is finished."""
    process = subprocess.Popen(
        [BIN / "gh-label", "h2.structures.zarr", *COARSE.split(), "-v"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    parts = folder / "h2.hamiltonians.zarr.partial" / "parts"
    while not list(parts.glob("*.npz")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


def test_kill_9_loses_no_finished_structure(gh, labelled):
    write_molecules(gh.folder)
    process = start(gh.folder)
    process.kill()
    process.wait()
    assert not (gh.folder / "h2.hamiltonians.zarr").exists()
    finished = len(list(gh.folder.glob("*.partial/parts/*.npz")))
    assert finished >= 1

    refused = gh(f"gh-label h2.structures.zarr {COARSE}")
    assert refused.returncode == 73
    assert "--resume" in refused.stderr
    # The store's name is enough: inputs and options are in its history.
    resumed = gh("gh-label --resume -o h2.hamiltonians.zarr -v")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{finished} of 3 structures are there already" in resumed.stderr
    result, whole = (
        HamiltonianReader(folder / "h2.hamiltonians.zarr") for folder in (gh.folder, labelled[0])
    )
    for index in range(3):
        one, other = result.read(index), whole.read(index)
        np.testing.assert_array_equal(one.pairs[1, 1].hamiltonian, other.pairs[1, 1].hamiltonian)


def test_a_dead_worker_costs_one_structure_and_resume_gets_it_back(gh):
    write_molecules(gh.folder)
    process = start(gh.folder)
    victims = [
        child
        for child in psutil.Process(process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    os.kill(victims[0].pid, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (75, "h2.hamiltonians.zarr\n"), stderr
    assert "h2-1" in stderr
    assert "killed" in stderr
    store = open_store(gh.folder / "h2.hamiltonians.zarr")
    assert [failure["name"] for failure in store.attributes["failed"]] == ["h2-1"]

    done = gh(f"gh-label h2.structures.zarr {COARSE} --resume")
    assert (done.returncode, done.stdout) == (0, "h2.hamiltonians.zarr\n"), done.stderr
    assert "2 of 3 structures are there already" in done.stderr
    reader = HamiltonianReader(gh.folder / "h2.hamiltonians.zarr")
    assert reader.names == ["h2-0", "h2-1", "h2-2"]
    assert reader.attributes["failed"] == []


def test_a_structure_that_fails_is_named_and_left_out(gh):
    molecule = ase.Atoms("H2", [(0, 0, 0), (0, 0, 0.7)])
    dense = ase.Atoms(
        "H", cell=[0.5, 0.5, 0.5], pbc=True
    )  # too few points for GPAW's interpolation
    names = ["n" * 300, "h2-1", "a/b"]
    structures = Structures([molecule, dense, dense], names)
    write_structures(gh.folder / "h2.structures.zarr", structures, Provenance("test"))
    done = gh(f"gh-label h2.structures.zarr {COARSE} --set kpts=[1,1,1] --json")
    assert done.returncode == 75
    result = json.loads(done.stdout)
    assert [failure["name"] for failure in result["failed"]] == names[1:]
    assert result["failed"][0]["reason"]
    assert "gh-label: error: 2 structures failed: h2-1" in done.stderr
    assert "Traceback" not in done.stderr
    assert HamiltonianReader(gh.folder / result["path"]).names == names[:1]
    # GPAW's text of the failed runs stays for a look; that of the other is gone.
    logs = gh.folder / "h2.hamiltonians.zarr.logs"
    assert sorted(log.name for log in logs.iterdir()) == ["2-a_b.txt", "h2-1.txt"]


def test_text_of_gpaw_is_kept_where_it_is_asked_for(call, tmp_path):
    write_molecules(tmp_path, BONDS[:1])
    done = call(f"gh-label h2.structures.zarr {COARSE} --logs", tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "h2.hamiltonians.zarr.logs/h2-0.txt").read_text()
    assert "fermi level" in text.lower()


def test_cycles_begin_from_the_densities_of_a_store_of_hamiltonians(labelled, call, tmp_path):
    """Predictions and labels alike; the labels are the same as from free atoms, and sooner there."""
    store = labelled[0] / "h2.hamiltonians.zarr"
    done = call(f"gh-label {store} {COARSE} --logs -o again.zarr", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"cycles begin from the densities of the H in {store}" in " ".join(done.stderr.split())
    before, after = HamiltonianReader(store), HamiltonianReader(tmp_path / "again.zarr")
    for index, name in enumerate(before.names):
        text = (tmp_path / f"again.zarr.logs/{name}.txt").read_text()
        assert "Converged in 3 steps" in text
        for one, other in zip(before.read(index).groups(), after.read(index).groups(), strict=True):
            np.testing.assert_allclose(one[1].hamiltonian, other[1].hamiltonian, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("--set basis=dzp", "the basis of H differs in shells"),
        ("--set spin=collinear --set magmoms.H=0.5", "expected H of 2 spin channels, found 1"),
    ],
)
def test_hamiltonians_of_other_calculations_are_not_begun_from(
    labelled, call, tmp_path, settings, says
):
    store = labelled[0] / "h2.hamiltonians.zarr"
    done = call(f"gh-label {store} {COARSE} {settings} -o other.zarr", tmp_path)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "cycles begin from the densities of free atoms, not of the H in it: " in told
    assert says in told


def test_nothing_is_written_if_all_fail(gh):
    write_molecules(gh.folder)
    done = gh(f"gh-label h2.structures.zarr {COARSE} --set max_iterations=1 -j 2")
    assert (done.returncode, done.stdout) == (75, "")
    assert "not self-consistent after 1 iterations" in done.stderr
    assert not (gh.folder / "h2.hamiltonians.zarr").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("missing.zarr", 66, "missing.zarr: no such store"),
        ("h2.structures.zarr --preset gold", 2, "agau, hfo2, hfo2-wse2, litfsi, sio2, tmd, wse2"),
        ("h2.structures.zarr --set basis=qz", 2, "basis_by_element.H"),
        ("h2.structures.zarr --set setups.H=99", 2, "setups.H"),
        ("h2.structures.zarr --set grid=0.2", 2, "grid: there is no such key"),
        ("h2.structures.zarr --set h=-1", 2, "h: input should be greater than or equal to 0.01"),
        ("h2.structures.zarr --set spin=collinear", 2, "magmoms"),
        ("h2.structures.zarr --set setups.Xx=1", 2, "no chemical element"),
        ("h2.structures.zarr --set xc=nonsense", 2, "xc: "),
        ("h2.structures.zarr --set xc=EXX", 2, "choose an LDA, GGA or meta-GGA"),
        ("h2.structures.zarr --set kpts=5,5", 2, "kpts: expected 3 values, as in kpts=[a,b,c]"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    call, tmp_path, arguments, code, says
):
    write_molecules(tmp_path)
    done = call(f"gh-label {arguments}", tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["h2.structures.zarr"]


def test_a_store_of_no_structures_is_no_input(call, tmp_path):
    write_structures(tmp_path / "none.structures.zarr", Structures([], []), Provenance("test"))
    done = call("gh-label none.structures.zarr", tmp_path)
    assert (done.returncode, done.stdout) == (66, "")
    assert "no structures" in done.stderr


@pytest.mark.parametrize(
    ("preset", "numbers", "expected"),
    [
        ("wse2", [34, 74], {74: ("6", 6.0, (0, 2, 1))}),
        ("litfsi", [3, 6, 7, 8, 9, 16], {3: ("", 1.0, (0, 1))}),
        ("tmd", [42, 52, 74], {74: ("6", 6.0, (0, 2, 1))}),
        ("agau", [47, 79], {47: ("11", 11.0, (0, 2, 1)), 79: ("", 11.0, (0, 2, 1))}),
        ("sio2", [8, 14], {14: ("", 4.0, (0, 1, 2))}),
        ("hfo2", [8, 72], {72: ("", 12.0, (0, 0, 1, 2, 3))}),
        ("hfo2-wse2", [28, 72], {28: ("10", 10.0, (0, 2, 1))}),
    ],
)
def test_presets(call, tmp_path, preset, numbers, expected):
    done = call(f"gh-label --preset {preset} --print-config", tmp_path)
    config = LabelConfig(**tomllib.loads(done.stdout))
    basis = basis_table(config, numbers)
    for number, (setup, n_valence, degrees) in expected.items():
        element = basis[number]
        assert (element.setup, element.n_valence, element.degrees) == (setup, n_valence, degrees)
    if preset == "hfo2-wse2":
        assert basis[28].hubbard == ":d,4.5"


def test_a_structure_that_gpaw_does_not_begin_with_is_told_by_the_dry_run(call, tmp_path):
    for name, pbc in (("x.zarr", True), ("y.zarr", [True, True, False])):
        atoms = ase.Atoms("H", cell=[4, 4, 12], pbc=pbc)
        write_structures(tmp_path / name, Structures([atoms], ["h"]), Provenance("test"))
    done = call("gh-label x.zarr y.zarr --set h=1.0 --dry-run", tmp_path)
    assert done.returncode == 0, done
    assert "structure 0 (H): GPAW does not begin to compute it" in done.stderr
    assert "look at h and at the cell" in done.stderr
    # Each store holds one kind, but one model should not be made of both.
    assert "(such as h in y.zarr) and bulk crystals (such as h in x.zarr)" in done.stderr


def test_dry_run_tells_the_plan_and_writes_nothing(call, tmp_path):
    write_molecules(tmp_path)
    done = call("gh-label h2.structures.zarr --dry-run", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "would label 3 structures (3 with 1x1x1 k-points)" in done.stderr
    assert "szp(dzp)" in done.stderr
    assert "3 molecules; functional PBE" in done.stderr
    assert "S: eigenvalues from" in done.stderr
    assert re.search(r"time: some [\d.]+ \w+ a structure, [\d.]+ \w+ in all", done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["h2.structures.zarr"]


def test_convergence_is_told_and_nothing_written(shell, tmp_path):
    """Also where the labels are there already."""
    write_molecules(tmp_path, bonds=(0.75,))
    (tmp_path / "h2.hamiltonians.zarr").mkdir()
    done = shell(f"gh-label h2.structures.zarr {COARSE} --convergence --json", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["name"] == "h2-0"
    assert [change["setting"] for change in found["changes"]] == [
        "h 0.3 → 0.24 Å",
        "convergence.density 0.0001 → 1e-05",
        "vacuum 3 → 6 Å",
    ]
    assert found["changes"][0]["onsite"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "h2.hamiltonians.zarr",
        "h2.structures.zarr",
    ]
    assert not any((tmp_path / "h2.hamiltonians.zarr").iterdir())
