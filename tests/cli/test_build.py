"""gh-build end to end: recipes, files, configuration, seeds."""

import json
import tomllib

import numpy as np
from ase.build import bulk, molecule
from ase.io import write

from gh_tools.store.io import open_store
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
    assert structures.names == [f"wse2-{k:04d}" for k in range(5)]
    assert {
        len(a) + int(v)
        for a, v in zip(structures.atoms, structures.columns["se_vacancies"].values, strict=True)
    } == {12}
    assert structures.columns["strain_x"].unit == "1"
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


def test_wrong_requests(call, tmp_path):
    for line, code, message in [
        ("gh-build unobtainium", 66, "no such recipe"),
        ("gh-build wse2 --set sise=[2,2]", 2, "sise"),
        ("gh-build wse2 --set rattle=-1", 2, "rattle"),
        ("gh-build wse2 structures.xyz", 2, "reads no files"),
        ("gh-build wse2 -n 0", 2, ""),
        ("gh-build wse2 -o nowhere/x.zarr", 73, "folder does not exist"),
        ("gh-build wse2 --set rattle=2 -n 1", 65, "apart"),
    ]:
        done = call(line, tmp_path)
        assert done.returncode == code, (line, done)
        assert message in done.stderr, (line, done.stderr)
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []
