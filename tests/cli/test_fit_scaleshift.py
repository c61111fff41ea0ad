"""gh-fit-scaleshift through a shell."""

import json
import shutil

import numpy as np

from gh_tools.labels.split import Split
from gh_tools.orbitals.basis import Basis
from gh_tools.scaleshift.scaleshift import ScaleShift
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.read import open_store


def test_pipe_fits_and_splits(gh, tiny_labels):
    shutil.copytree(tiny_labels, gh.folder / "x.hamiltonians.zarr")
    done = gh(
        "echo x.hamiltonians.zarr | gh-fit-scaleshift --fractions 0.5,0.25,0.25 --seed 3 --json"
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["path"] == "x.scaleshift.zarr"
    assert (facts["train"], facts["validation"], facts["test"]) == (2, 1, 1)
    # On-site energies are tens of eV; their means leave a few tenths.
    assert 0 < facts["mae_of_shift_mev"]["train"]["onsite"] < 500
    store = open_store(gh.folder / facts["path"], "scaleshift")
    assert list(check_arrays(store)) == []
    assert store.history[-1]["seed"] == 3
    split = Split.from_arrays(store)
    assert sorted(np.concatenate([split.train, split.validation, split.test])) == [0, 1, 2, 3]
    scaleshift = ScaleShift.from_arrays(store, Basis.from_arrays(store))
    assert scaleshift.onsite_terms[74].shift.any()
    assert store.unit("pairs/34-74/shift_length") == "Å"


def test_a_given_split_is_kept(gh, tiny_labels):
    names = [str(name) for name in open_store(tiny_labels)["structures/name"]]
    split = {"train": [names[2], names[0]], "validation": [names[3]]}
    (gh.folder / "split.json").write_text(json.dumps(split))
    line = f"gh-fit-scaleshift {tiny_labels} --split split.json -o x.zarr -q"
    done = gh(line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x.zarr\n", "")
    store = open_store(gh.folder / "x.zarr")
    assert store["split/train"].tolist() == [0, 2]
    assert store["split/validation"].tolist() == [3]
    assert store["structures/name"].tolist() == names
    again = gh(line)
    assert again.returncode == 73 and "--overwrite" in again.stderr
    assert gh(line + " --overwrite").returncode == 0


def test_dry_run_writes_nothing(gh, tiny_labels):
    done = gh(f"gh-fit-scaleshift {tiny_labels} -o x.zarr --dry-run --fractions 2,1,1")
    assert (done.returncode, done.stdout) == (0, "")
    assert "2 train, 1 validation, 1 test" in done.stderr
    assert list(gh.folder.iterdir()) == []


def test_errors_are_one_sentence(gh, tiny_labels, random_model):
    cases = [
        (f"gh-fit-scaleshift {tiny_labels} --fractions 1,2", 2, "three numbers"),
        (f"gh-fit-scaleshift {tiny_labels} --fractions a,b,c", 2, "three numbers"),
        (f"gh-fit-scaleshift {tiny_labels} --split none.json", 66, "no such file"),
        ("gh-fit-scaleshift none.zarr", 66, "no such store"),
        ("true | gh-fit-scaleshift", 66, "upstream command produced nothing"),
        (f"gh-fit-scaleshift {random_model}", 65, "expected a store of kind hamiltonians"),
    ]
    for line, code, message in cases:
        done = gh(f"{line} {'' if '|' in line else '-o x.zarr'}")
        assert done.returncode == code, (line, done.stderr)
        assert message in done.stderr and done.stderr.count("\n") == 1
        assert done.stdout == "" and list(gh.folder.iterdir()) == []
