"""gh-build end to end: recipes, files, configuration, seeds."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write

from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures

SMALL = "--set size=[2,2] --set orthogonal=false"


def content(path):
    """Return all that a store holds but its history."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "zarr.json"
    }


def test_recipe_with_seed(gh):
    done = gh(f"gh-build wse2 -n 5 --seed 3 {SMALL}")
    assert (done.returncode, done.stdout) == (0, "wse2.structures.zarr\n")
    store = open_store(gh.folder / "wse2.structures.zarr", "structures")
    structures = read_structures(store)
    assert structures.names == [f"wse2-s3-{k:04d}" for k in range(5)]
    assert {
        len(a) + int(v)
        for a, v in zip(structures.atoms, structures.columns["se_vacancies"].values, strict=True)
    } == {12}
    assert structures.columns["strain_x"].unit == ""
    assert structures.columns["se_vacancy_density"].unit == "1/cm^2"
    assert all(column.description for column in structures.columns.values())
    entry = store.history[-1]
    assert (entry["program"], entry["seed"]) == ("gh-build", 3)
    assert entry["config"]["size"] == [2, 2]
    assert entry["config"]["n"] == 5


def test_same_seed_same_bytes(gh):
    gh(f"gh-build wse2 -n 4 --seed 5 {SMALL} -o a.zarr", SOURCE_DATE_EPOCH="0")
    gh(f"gh-build wse2 -n 4 --seed 5 {SMALL} -o b.zarr", SOURCE_DATE_EPOCH="86400")
    gh(f"gh-build wse2 -n 4 --seed 6 {SMALL} -o c.zarr")
    a, b, c = (gh.folder / f"{name}.zarr" for name in "abc")
    assert content(a) == content(b) != content(c)
    ids = [open_store(path).id for path in (a, b, c)]
    assert ids[0] == ids[1] != ids[2]
    assert open_store(a).history[0]["time"] == "1970-01-01T00:00:00+00:00"


def test_configuration_file_options_and_printed_configuration(gh):
    (gh.folder / "mine.toml").write_text('recipe = "wse2"\nsize = [1, 2]\nrattle = 0.0\n')
    done = gh("gh-build -c mine.toml --set strain=0.01 --print-config")
    printed = tomllib.loads(done.stdout)
    assert (printed["recipe"], printed["size"], printed["rattle"]) == ("wse2", [1, 2], 0.0)
    assert (printed["strain"], printed["lattice_constant"]) == (0.01, 3.32)
    # What was printed is a configuration file that gives the same.
    (gh.folder / "again.toml").write_text(done.stdout)
    assert gh("gh-build -c again.toml --print-config").stdout == done.stdout
    assert gh("gh-build -c again.toml -o x.zarr --json").returncode == 0
    assert len(read_structures(gh.folder / "x.zarr").atoms[0]) <= 12


def test_list_names_every_recipe(gh):
    from gh_tools.structures.registry import NAMES

    done = gh("gh-build --list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(NAMES)


def test_files_without_saying_file(gh):
    images = [molecule("H2O"), molecule("NH3")]
    for k, atoms in enumerate(images):
        atoms.info["temperature"] = 300.0 + k
    write(gh.folder / "run.xyz", images)
    write(gh.folder / "salt.cif", bulk("NaCl", "rocksalt", a=5.6))
    done = gh("gh-build run.xyz salt.cif --json --set units.temperature=K")
    result = json.loads(done.stdout)
    assert (result["path"], result["n"]) == ("run.structures.zarr", 3)
    structures = read_structures(gh.folder / "run.structures.zarr")
    assert structures.names == ["run-0000", "run-0001", "salt"]
    np.testing.assert_array_equal(structures.columns["temperature"].values, [300, 301, np.nan])
    assert structures.columns["temperature"].unit == "K"
    # The same from a pipe, and by the recipe's name.
    assert gh("ls run.xyz salt.cif | gh-build -o piped.zarr").stdout == "piped.zarr\n"
    gh("gh-build file run.xyz salt.cif --set units.temperature=K -o named.zarr")
    run, named = (gh.folder / f"{name}.zarr" for name in ("run.structures", "named"))
    assert content(run) == content(named)


def test_names_of_files_that_are_hardly_text(gh):
    """Outside of the basic plane, in another encoding, with what TOML escapes; by options and by a pipe."""
    names = ["𝓗.xyz".encode(), b"l\xe9.xyz", "a\\ud835 'b\" é\x7f.xyz".encode(), b"run@300.xyz"]
    for name in names:
        file = gh.folder / os.fsdecode(name)
        write(file, molecule("H2O"), format="xyz")
        done = gh(f"gh-build {shlex.quote(file.name)} -q -o out.zarr --overwrite | gh-info")
        assert done.returncode == 0, done.stderr
        found = read_structures(gh.folder / "out.zarr").names
        text = name.removesuffix(b".xyz").decode(errors="backslashreplace")
        assert found == [text.replace("\x7f", "\\x7f")]
        if name.startswith(b"l"):  # the name of the store is derived from it
            made = gh(f"gh-build {shlex.quote(file.name)} -q | gh-info")
            assert made.returncode == 0, made.stderr


def test_wrong_requests(call, tmp_path):
    for line, code, message in [
        ("gh-build unobtainium", 66, "no such recipe"),
        ("gh-build wse2 --set sise=[2,2]", 2, "sise"),
        ("gh-build wse2 --set rattle=-1", 2, "rattle"),
        ("gh-build wse2 structures.xyz", 2, "reads no files"),
        ("gh-build wse2 -n 0", 2, ""),
        ("gh-build wse2 -o nowhere/x.zarr", 73, "folder does not exist"),
        ("gh-build wse2 --set rattle=2 -n 1", 65, "apart"),
        ("gh-build agau --every 10", 2, "--anneal"),
        ("gh-build agau --anneal vasp", 2, "expected emt"),
        ("gh-build agau --anneal emt --set anneal.steps=[1,2]", 2, "temperatures"),
        ("gh-build hfo2 --set density=[8,7]", 2, "ascend"),
        ("gh-build tmd --set materials=['C']", 2, "materials"),
    ]:
        done = call(line, tmp_path)
        assert done.returncode == code, (line, done)
        assert message in done.stderr, (line, done.stderr)
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []


ANNEAL = (
    "gh-build agau -n 2 --seed 4 --set size=[1,1,1] --set anneal.steps=[60] --every 40 "
    "--set anneal.temperatures=[900,600,300]"
)


@pytest.fixture(scope="module")
def annealed(shell, tmp_path_factory):
    """A folder with alloys, annealed without an interruption."""
    folder = tmp_path_factory.mktemp("annealed")
    done = shell(f"{ANNEAL} --anneal emt --json -o whole.zarr", folder)
    assert (done.returncode, done.stderr.count("WARNING")) == (0, 0), done.stderr
    return folder, json.loads(done.stdout)


def test_annealed_structures_and_their_snapshots(annealed):
    folder, result = annealed
    # 180 steps: snapshots at 40, 80, 120 and 160, and the relaxed end.
    assert (result["n"], result["failed"]) == (10, [])
    structures = read_structures(folder / "whole.zarr")
    column = {name: c.values for name, c in structures.columns.items()}
    assert column["trajectory"].tolist() == [0] * 5 + [1] * 5
    assert column["temperature"].tolist() == [900, 600, 600, 300, 0] * 2
    relaxed = column["temperature"] == 0
    assert column["relaxed"][relaxed].tolist() == [1, 1]
    assert np.isnan(column["relaxed"][~relaxed]).all()
    for row in np.flatnonzero(relaxed):
        atoms = structures.atoms[row]
        atoms.calc = EMT()
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.1
        assert atoms.get_potential_energy() == pytest.approx(column["annealing_energy"][row])
    assert structures.columns["max_force"].unit == "eV/Å"
    assert structures.names[4] == "agau-s4-0000"
    assert structures.names[0].startswith("agau-s4-0000-")
    # Cells were relaxed, and densities are those of the relaxed ones.
    mass = structures.atoms[0].get_masses().sum() * 1.66053907e-24
    volume = structures.atoms[0].get_volume() * 1e-24
    assert column["density"][0] == pytest.approx(mass / volume)


def test_an_annealed_structure_does_not_depend_on_how_many_are_made(annealed, call, tmp_path):
    folder, _ = annealed
    assert call(f"{ANNEAL} -n 1 --anneal emt -o one.zarr", tmp_path).returncode == 0
    both, one = (read_structures(path) for path in (folder / "whole.zarr", tmp_path / "one.zarr"))
    assert one.names == both.names[:5]
    for a, b in zip(one.atoms, both.atoms, strict=False):
        np.testing.assert_array_equal(a.positions, b.positions)


def test_annealing_goes_on_after_kill_9_to_the_same_result(annealed, gh):
    folder, _ = annealed
    tmp_path = gh.folder
    command = [*f"{ANNEAL} --anneal emt -o killed.zarr".split()]
    command[0] = str(Path(sys.executable).parent / command[0])
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    states = tmp_path / "killed.zarr.partial" / "annealing"
    while not list(states.glob("*/frames-*")):
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed.zarr").exists()
    refused = gh(f"{ANNEAL} --anneal emt -o killed.zarr --resume --set anneal.coupling=50")
    assert (refused.returncode, "coupling: 100" in refused.stderr) == (73, True), refused.stderr
    # Two processes at once make no difference, either.
    done = gh("gh-build --resume -o killed.zarr -j 2")
    assert (done.returncode, done.stdout) == (0, "killed.zarr\n"), done.stderr
    assert content(tmp_path / "killed.zarr") == content(folder / "whole.zarr")
    assert not (tmp_path / "killed.zarr.partial").exists()
    # And once more: all is there.
    before = (tmp_path / "killed.zarr/zarr.json").stat().st_mtime_ns
    assert gh(f"{ANNEAL} --anneal emt -o killed.zarr --resume").returncode == 0
    assert (tmp_path / "killed.zarr/zarr.json").stat().st_mtime_ns == before


def test_structures_that_cannot_be_annealed(call, tmp_path):
    # EMT knows no silicon: it fails, gold does not, and is published.
    write(tmp_path / "mixed.traj", [bulk("Au", cubic=True), bulk("Si", cubic=True)])
    line = "gh-build mixed.traj --anneal emt --set anneal.temperatures=[]"
    done = call(line, tmp_path)
    assert (done.returncode, done.stdout) == (75, "mixed.structures.zarr\n")
    assert "file-0001" in done.stderr
    assert "Si" in done.stderr
    assert read_structures(tmp_path / "mixed.structures.zarr").names == ["mixed-0000"]
    # The same again with --resume: gold is there, silicon fails again.
    done = call(f"{line} --resume", tmp_path)
    assert done.returncode == 75
    assert read_structures(tmp_path / "mixed.structures.zarr").names == ["mixed-0000"]
    write(tmp_path / "si.traj", bulk("Si"))
    done = call("gh-build si.traj --anneal emt", tmp_path)
    assert (done.returncode, done.stdout) == (75, "")
    assert "no structure was finished" in done.stderr


def test_forces_above_the_threshold_are_told(call, tmp_path):
    options = "--set anneal.temperatures=[] --set anneal.final_fmax=1e-4 --set anneal.max_steps=1"
    done = call(f"gh-build agau --anneal emt --set size=[1,1,1] {options}", tmp_path)
    assert done.returncode == 0
    assert "agau-s0-0000: the largest force is" in done.stderr
    structures = read_structures(tmp_path / "agau.structures.zarr")
    assert structures.columns["relaxed"].values.tolist() == [0]
    assert structures.columns["max_force"].values[0] > 1e-4


def test_what_calculators_say_is_no_result(call, tmp_path, monkeypatch):
    (tmp_path / "talking.py").write_text(
        "from ase.calculators.emt import EMT\n\n\n"
        "class Talking(EMT):\n    def __init__(self, words):\n        super().__init__()\n        print(words)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    line = "gh-build agau --set size=[1,1,1] --set anneal.temperatures=[] --anneal talking:Talking"
    done = call(f"{line} --set anneal.options.words=hello", tmp_path)
    assert (done.returncode, done.stdout) == (0, "agau.structures.zarr\n")
    assert "hello" in done.stderr


def test_annealing_does_not_go_on_with_another_file(call, tmp_path):
    """Half of the structures would be of the one file, and half of the other."""
    file = tmp_path / "x.xyz"
    line = (
        "gh-build x.xyz --anneal emt --set anneal.steps=[2] --set anneal.temperatures=[300] "
        "-o x.zarr --resume"
    )
    bulk("Cu", cubic=True).write(file)
    assert call(line, tmp_path).returncode == 0
    assert call(line, tmp_path).returncode == 0  # nothing is left to do
    bulk("Ag", cubic=True).write(file)
    refused = call(line, tmp_path)
    assert refused.returncode == 73
    assert "another config (files: x.xyz: " in refused.stderr
