"""gh-dos through a shell, on real labels."""

import json

import numpy as np
import pytest

from gh_tools.spectra.spectra import read_spectra
from gh_tools.store.read import open_store


@pytest.fixture(scope="session")
def labels(tiny_labels, tmp_path_factory):
    """A copy of the labels in a folder of its own, so that outputs go there by default."""
    folder = tmp_path_factory.mktemp("dos")
    (folder / "tiny.hamiltonians.zarr").symlink_to(tiny_labels)
    return folder / "tiny.hamiltonians.zarr"


def test_whole_run_with_picture_and_resume(shell, labels, tmp_path):
    options = "--kpts 3 3 1 --points 2000 --window -8 8 --carriers W,Se --carrier-window -1 0.2"
    line = f"gh-dos {labels} -o x.spectra.zarr {options}"
    done = shell(f"{line} --json --plot x.png --reference {labels}", tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["path"] == "x.spectra.zarr" and facts["plot"] == "x.png"
    assert facts["band_gap_mae"] == 0 and facts["dos_error"] == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")

    store = open_store(tmp_path / "x.spectra.zarr", "spectra")
    spectra = read_spectra(store)
    assert len(spectra) == 4 and spectra.energy.shape == (2000,)
    assert spectra.energy[[0, -1]].tolist() == [-8.0, 8.0]
    np.testing.assert_array_equal(spectra.total, spectra.species[34] + spectra.species[74])
    assert np.all(spectra.scalars["carriers_per_area"] > 1e13)
    assert store.attributes["carrier_species"] == ["W", "Se"]
    assert "column/strain_x" in store
    entry = store.history[-1]
    assert entry["program"] == "gh-dos" and entry["config"]["kpts"] == [3, 3, 1]
    assert entry["inputs"][0]["id"] == open_store(labels).id

    refused = shell(line, tmp_path)
    assert refused.returncode == 73 and "--overwrite" in refused.stderr
    assert refused.stderr.count("\n") == 1 and refused.stdout == ""
    again = shell(f"{line} --resume", tmp_path)
    assert (again.returncode, again.stdout) == (0, "x.spectra.zarr\n")
    assert open_store(tmp_path / "x.spectra.zarr").id == store.id
    checked = shell("gh-info --check x.spectra.zarr", tmp_path)
    assert checked.returncode == 0, checked.stderr


def test_kill_loses_nothing_finished(gh, labels):
    line = f"gh-dos {labels} --kpts 30 30 1 --points 500 -q"
    killed = gh(
        f"{line} -j 2 -o x.zarr & until ls x.zarr.partial/parts/*.npz; do sleep 0.02; done; "
        "kill -9 $!; wait $!"
    )
    assert killed.returncode == 137
    assert not (gh.folder / "x.zarr").exists()
    # From another folder, with the store's name alone: inputs and options are in its history.
    resumed = gh(f"mkdir sub; (cd sub; gh-dos --resume -o ../x.zarr) && {line} -o whole.zarr")
    assert resumed.returncode == 0, resumed.stderr
    assert open_store(gh.folder / "x.zarr").id == open_store(gh.folder / "whole.zarr").id


def test_pipe_default_name_and_label_fermi_level(shell, labels):
    line = f"echo {labels} | gh-dos --fermi label --kpts 2 2 1 --set points=300 -j 2 -q"
    done = shell(line, labels.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    path = labels.with_name("tiny.spectra.zarr")
    assert done.stdout == f"{path}\n"
    np.testing.assert_array_equal(
        read_spectra(path).scalars["fermi_level"], open_store(labels)["scalar/fermi_level"]
    )


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--carriers Xx", 2, "chemical symbol"),
        ("--carriers Hf", 65, "no structure contains Hf"),
        ("--window 2 1", 2, "lower energy first"),
        ("--carrier-window 0 1e-9", 2, "1e-06 eV or more between the two"),
        ("--width inf", 2, "width: input should be a finite number"),
        ("--plot dos.txt", 2, ".png, .pdf, .svg"),
        ("--kpts 0 1 1", 2, "kpts.0: input should be greater than 0"),
        ("--reference other.zarr", 2, "--plot"),
    ],
)
def test_bad_options(gh, labels, options, code, said):
    done = gh(f"gh-dos {labels} -o x.zarr {options}")
    assert done.returncode == code, done.stderr
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and list(gh.folder.iterdir()) == []


def test_bad_inputs(gh):
    missing = gh("gh-dos missing.zarr")
    assert missing.returncode == 66 and "missing.zarr" in missing.stderr
    empty = gh("true | gh-dos")
    assert empty.returncode == 66 and "produced nothing" in empty.stderr
    gh("gh-build wse2 --set size=[1,1] --set orthogonal=false -o s.zarr -q")
    wrong = gh("gh-dos s.zarr")
    assert wrong.returncode == 65 and "expected a store of kind hamiltonians" in wrong.stderr
    assert [path.name for path in gh.folder.iterdir()] == ["s.zarr"]


def test_plans_and_configuration(gh, labels):
    plan = gh(f"gh-dos {labels} --dry-run -o x.zarr")
    assert plan.returncode == 0 and "x.zarr" in plan.stderr and plan.stdout == ""
    shown = gh(
        "gh-dos --print-config --width 0.1 --carriers W,Se > c.toml; gh-dos -c c.toml --print-config"
    )
    assert "width = 0.1" in shown.stdout and 'carriers = ["W", "Se"]' in shown.stdout
    assert "points = 20000" in shown.stdout


def test_band_diagram_and_localised_states(gh, labels):
    line = (
        f"gh-dos {labels} --kpts 2 2 1 --along z --states -2 2 --set position_spacing=0.5 -o x.zarr"
    )
    done = gh(f"{line} --json --plot x.json")
    assert done.returncode == 0, done.stderr
    assert "local band edges of groups" in done.stderr and "most localised" in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 120
    facts = json.loads(done.stdout)["structures"][0]
    assert facts["groups"][0]["name"] == "1 WSe2" and facts["groups"][0]["atoms"] == 3
    assert facts["states"][0]["atoms"][0]["name"] in ("W0", "Se1", "Se2")
    numbers = json.loads((gh.folder / "x.json").read_text())
    density = np.array([one["density"] for one in numbers["positions"]])
    whole = density.sum(axis=0) * numbers["position_spacing"]
    np.testing.assert_allclose(whole, numbers["total"], atol=1e-9)
    store = open_store(gh.folder / "x.zarr", "spectra")
    assert store.shape("positions/density") == (store["positions/ptr"][-1], 4000)
    assert gh("gh-info --check x.zarr").returncode == 0
    # A table for a spreadsheet, a row a position; and pictures of any structure.
    done = gh(
        "gh-info x.zarr --plot x.csv --structure 1 && gh-info x.zarr --plot x.png --structure 1"
    )
    assert done.returncode == 0, done.stderr
    rows = (gh.folder / "x.csv").read_text().splitlines()
    assert rows[0].startswith("z (Å),atoms,valence edge (eV),")
    assert len(rows) - 1 == np.diff(store["positions/ptr"])[1]
    assert (gh.folder / "x.png").read_bytes().startswith(b"\x89PNG")
    assert gh("gh-info x.zarr --plot y.png --structure 9").returncode == 2


def test_projections_on_what_users_name(gh, labels):
    done = gh(f"gh-dos {labels} --kpts 1 1 1 --project metal=W,Se -o x.zarr --plot x.png --json")
    assert done.returncode == 0, done.stderr
    groups = json.loads(done.stdout)["structures"][0]["groups"]
    assert [one["name"] for one in groups] == ["metal", "Se"]
    store = open_store(gh.folder / "x.zarr", "spectra")
    np.testing.assert_allclose(store["groups/density"][0], store["dos/species/74"][0], atol=1e-12)
    again = gh("gh-dos -o x.zarr --resume")
    assert again.returncode == 0, again.stderr
    for options, code in (
        ("--project Xx", 2),
        ("--project W,S", 65),
        ("--along w", 2),
        ("--project spin", 65),
        ("--along z --solver kpm", 2),
        ("--along z --plot y.png --reference x.zarr", 2),
        ("--states 1 -1", 2),
    ):
        refused = gh(f"gh-dos {labels} --kpts 1 1 1 -o y.zarr {options}")
        assert refused.returncode == code, (options, refused.stderr)
        assert "Traceback" not in refused.stderr
