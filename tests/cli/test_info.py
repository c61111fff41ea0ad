"""gh-info tells what stores hold and finds what is wrong with them."""

import csv
import json
import shlex

import numpy as np
import pytest
import zarr

from gh_tools.store.structures import read_structures


@pytest.fixture(scope="session")
def built(shell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("info")
    line = "gh-build wse2 -n 6 --seed 1 --set size=[2,2] --set orthogonal=false -o wse2.structures.zarr"
    assert shell(line, folder).returncode == 0
    return folder / "wse2.structures.zarr"


@pytest.fixture
def store(gh, built):
    gh(f"cp -r {built} x.zarr")
    return gh.folder / "x.zarr"


def test_text_names_what_a_reader_looks_for(gh, built):
    done = gh(f"gh-info {built}")
    assert done.returncode == 0
    for part in (
        "structures, ",
        "6 structures",
        "W 24",
        "TTF (6)",
        "strain along x",
        "1/cm^2",
        "atoms/position",
        "float64",
        "Å",
        "gh-build 0.",
        "seed 1",
        "--set size=[2,2]",
    ):
        assert part in done.stdout, part


def test_json_through_a_pipe(gh, built):
    done = gh(f"echo {built} | gh-info --json --check")
    found = json.loads(done.stdout)
    assert found["kind"] == "structures"
    assert found["structures"]["count"] == 6
    assert sum(found["structures"]["formulae"].values()) == 6
    assert found["structures"]["elements"]["W"] == 24
    assert found["columns"]["strain_x"]["unit"] == ""
    assert (
        -0.02 <= found["columns"]["strain_x"]["minimum"] <= found["columns"]["strain_x"]["maximum"]
    )
    arrays = {array["path"]: array for array in found["arrays"]}
    assert arrays["structures/cell"] == {
        "path": "structures/cell",
        "shape": [6, 3, 3],
        "dtype": "float64",
        "unit": "Å",
    }
    assert found["history"][-1]["program"] == "gh-build"
    assert found["checked"] == "hash of all content, schema, values, structures"


def test_a_good_store_is_sound(gh, built):
    done = gh(f"gh-info --deep {built}")
    assert done.returncode == 0
    assert "sound" in done.stdout


def _edit(path, key, change):
    """Change an array's values behind the store's back."""
    array = zarr.open_group(path, mode="r+")[key]
    values = array[...]
    change(values)
    array[...] = values


def _remove(path, key):
    del zarr.open_group(path, mode="r+")[key]


def _replace(path, key, values):
    group = zarr.open_group(path, mode="r+")
    del group[key]
    group.create_array(key, data=values)


@pytest.mark.parametrize(
    "spoil, option, name",
    [
        (lambda p: _remove(p, "atoms/number"), "", "atoms/number"),
        (lambda p: _replace(p, "structures/cell", np.zeros((6, 3))), "", "structures/cell"),
        (lambda p: _replace(p, "structures/pbc", np.zeros((6, 3))), "", "structures/pbc"),
        (lambda p: _replace(p, "column/strain_x", np.zeros(5)), "", "column/strain_x"),
        (
            lambda p: _edit(p, "structures/atom_ptr", lambda v: v.__setitem__(2, 0)),
            "",
            "structures/atom_ptr",
        ),
        (lambda p: _edit(p, "atoms/position", lambda v: v.__setitem__(0, 9)), "", "id"),
    ],
)
def test_each_fault_is_named(call, store, spoil, option, name):
    spoil(store)
    done = call(f"gh-info {option} x.zarr", store.parent)
    assert done.returncode == 65
    assert name in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_damaged_bytes_are_no_traceback(gh, store):
    chunk = max(
        (f for f in (store / "atoms/number").rglob("*") if f.name != "zarr.json" and f.is_file()),
        key=lambda f: f.stat().st_size,
    )
    chunk.write_bytes(chunk.read_bytes()[:-7])
    done = gh("gh-info --check --deep x.zarr")
    assert done.returncode == 65
    assert "Traceback" not in done.stderr


def test_the_table_has_all_numbers_of_all_structures(gh, built):
    """Text is read in columns, CSV and JSON give the numbers that the store has, to the last bit."""
    found = read_structures(built)
    records = [
        json.loads(line) for line in gh(f"gh-info --table --json {built}").stdout.splitlines()
    ]
    assert [record["name"] for record in records] == found.names
    rows = list(csv.DictReader(gh(f"gh-info --csv {built}").stdout.splitlines()))
    text = gh(f"gh-info --table {built}").stdout.splitlines()
    assert len(rows) == len(text) - 2 == 6
    assert len({len(line) for line in text[1:]}) == 1  # a rule as wide as all rows
    for name, column in found.columns.items():
        title = f"{name} ({column.unit})" if column.unit else name
        assert title in text[0]
        assert [record[name] for record in records] == column.values.tolist()
        assert [float(row[title]) for row in rows] == column.values.tolist()


def test_tables_of_several_stores_are_one(gh, built):
    rows = list(
        csv.DictReader(
            gh(f"cp -r {built} x.zarr; gh-info --csv x.zarr {built}").stdout.splitlines()
        )
    )
    assert [row["store"] for row in rows] == ["x.zarr"] * 6 + [str(built)] * 6


def test_a_table_fits_the_terminal(gh, built):
    """What does not fit stands below, with the names again; no number and no name is cut."""
    line = f"stty cols 60; gh-info --table {built}"
    done = gh(f"script -qefc {shlex.quote(line)} /dev/null", COLUMNS="60")
    lines = done.stdout.replace("\r", "").splitlines()
    assert max(map(len, lines)) <= 60
    names = read_structures(built).names
    parts = sum(names[0] in line for line in lines)
    assert parts > 1
    assert all(sum(name in line for line in lines) == parts for name in names)


def test_forms_that_exclude_each_other_are_refused(call, built):
    done = call(f"gh-info --csv --json {built}", built.parent)
    assert done.returncode == 2
    assert "--csv" in done.stderr
