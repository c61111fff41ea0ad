"""The whole chain through real shells and real make, with DFT of three-atom cells."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write

from gh_tools.resources import share_path
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import open_store
from tests.commands.server import forked
from tests.conftest import tiny_configuration

BIN = Path(sys.executable).parent
CELLS = "--set size=[1,1] --set orthogonal=false --set se_vacancies=0"
COARSE = "--preset wse2 --set kpts=[1,1,1] --set h=0.32"
MAKEFILE = f"""
include {{make}}
LABEL_FLAGS = {COARSE} -j 2
SCALESHIFT_FLAGS = --fractions 0.5,0.25,0.25
TRAIN_FLAGS = -c tiny.toml
DOS_FLAGS = --kpts 2 2 1 --points 200
MODEL = x.model.zarr
FORMULA = fermi_level ~ strain_x
BAYES_FLAGS = --chains 2 --draws 300 --tune 300
all: new.posterior.zarr/zarr.json x.spectra.zarr/zarr.json
x.structures.zarr/zarr.json:
	gh-build wse2 -n 4 {CELLS} -o x.structures.zarr --overwrite
new.structures.zarr/zarr.json:
	gh-build wse2 -n 6 --seed 1 {CELLS} -o new.structures.zarr --overwrite
"""


def shell(command, folder, path=None):
    """Run a command, with ours from a folder; by default those that need not import everything anew."""
    path = f"{path or forked()}:{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("make")
    (folder / "tiny.toml").write_text(tiny_configuration(epochs=3, last_layers=2))
    (folder / "Makefile").write_text(MAKEFILE.format(make=share_path("make/gh.mk")))
    return folder


@pytest.fixture(scope="module")
def made(folder):
    """The folder, after a make that was killed while it labelled, and a second one."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    make = subprocess.Popen(
        ["make", "all"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    parts = folder / "x.hamiltonians.zarr.partial" / "parts"
    while not list(parts.glob("[0-9]*.npz")):
        assert make.poll() is None, "make ended before a structure was labelled"
        time.sleep(0.1)
    os.killpg(make.pid, signal.SIGKILL)
    make.wait()
    finished = {part.name: part.stat().st_mtime_ns for part in parts.glob("[0-9]*.npz")}
    assert not (folder / "x.hamiltonians.zarr").exists()

    again = shell("make all", folder, BIN)
    assert again.returncode == 0, again.stderr
    return folder, finished, again


def test_make_takes_up_a_killed_run_and_ends_with_whole_stores(made):
    folder, finished, again = made
    assert "--resume" in again.stdout
    assert finished
    assert len(HamiltonianReader(folder / "x.hamiltonians.zarr")) == 4
    posterior = open_store(folder / "new.posterior.zarr", "posterior")
    programs = [entry["program"] for entry in posterior.history]
    for program in ("gh-build", "gh-label", "gh-train", "gh-infer", "gh-dos", "gh-bayes"):
        assert program in programs
    assert [path.name for path in folder.glob("*.partial")] == []


def test_making_again_does_nothing_and_a_touched_input_remakes_what_depends_on_it(made):
    folder, *_ = made
    idle = shell("make all", folder)
    assert idle.returncode == 0
    assert "gh-" not in idle.stdout
    os.utime(folder / "new.structures.zarr" / "zarr.json")
    planned = shell("make -n all", folder).stdout
    assert [line.split()[0] for line in planned.splitlines() if line.startswith("gh-")] == [
        "gh-infer",
        "gh-dos",
        "gh-bayes",
    ]
    done = shell("make all", folder)
    assert done.returncode == 0, done.stderr
    assert "gh-" not in shell("make all", folder).stdout


def test_labels_to_model_through_one_pipe(folder):
    command = (
        f"gh-build wse2 -n 3 --seed 4 {CELLS} -o p.structures.zarr | gh-label {COARSE} -j 2 | "
        "gh-fit-scaleshift --fractions 0.6,0.4,0 | gh-train -c tiny.toml -o p.model.zarr"
    )
    done = shell(command, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "p.model.zarr\n"
    assert open_store(folder / "p.model.zarr", "model").kind == "model"


def test_structures_to_posterior_through_one_pipe(made):
    folder, *_ = made
    command = (
        f"gh-build wse2 -n 5 --seed 5 {CELLS} -o q.structures.zarr | gh-infer -m x.model.zarr | "
        "gh-dos --kpts 2 2 1 --json | "
        "gh-bayes 'fermi_level ~ strain_y' --chains 2 --draws 200 --tune 200 -o q.posterior.zarr"
    )
    done = shell(command, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "q.posterior.zarr\n"


def test_a_pipe_ends_where_its_first_command_fails(folder):
    command = "gh-build no-such-recipe -n 2 | gh-label | gh-fit-scaleshift"
    failed = shell(command + '; echo "${PIPESTATUS[@]}"', folder)
    assert failed.stdout.split() == ["66", "66", "66"]
    assert failed.stderr.count("upstream command produced nothing") == 2
    assert "Traceback" not in failed.stderr


def test_the_name_of_a_store_is_a_target(tmp_path):
    (tmp_path / "Makefile").write_text(f"include {share_path('make/gh.mk')}\nFORMULA = a ~ b\n")
    for number, kind in enumerate(("structures", "hamiltonians", "scaleshift")):
        (tmp_path / f"x.{kind}.zarr").mkdir()
        file = tmp_path / f"x.{kind}.zarr/zarr.json"
        file.touch()
        os.utime(file, (number, number))
    planned = shell("make -n x.model.zarr", tmp_path)
    assert [line.split()[0] for line in planned.stdout.splitlines()] == ["gh-train"]
    assert "gh-" not in shell("make -n x.hamiltonians.zarr", tmp_path).stdout
    os.utime(tmp_path / "x.structures.zarr/zarr.json")
    planned = shell("make -n x.scaleshift.zarr", tmp_path).stdout
    assert [line.split()[0] for line in planned.splitlines()] == ["gh-label", "gh-fit-scaleshift"]
    assert shell("make -n x.nothing.zarr", tmp_path).returncode == 2


FAILING = """
include {make}
LABEL_FLAGS = --set h=0.4 --set max_iterations=7
DOS_FLAGS = --points 50
all: h.spectra.zarr/zarr.json
.DELETE_ON_ERROR:
.PRECIOUS: h.structures.zarr/zarr.json
h.structures.zarr/zarr.json:
	gh-build h.xyz --set minimum_distance=0 -o h.structures.zarr --overwrite
"""


def test_a_structure_that_fails_stops_make_until_it_is_accepted(tmp_path):
    """Of two structures of hydrogen one is too crowded to converge in so few iterations."""
    crowded = [[0, 0, 0], [0.3, 0, 0], [1, 1.2, 0], [0, 2, 2], [1.2, 0, 2.5]]
    structures = [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), Atoms("H5", crowded)]
    for atoms in structures:
        atoms.center(3)
    write(tmp_path / "h.xyz", structures)
    (tmp_path / "Makefile").write_text(FAILING.format(make=share_path("make/gh.mk")))
    first = shell("make", tmp_path)
    labels = tmp_path / "h.hamiltonians.zarr"
    assert first.returncode == 2 and "Error 75" in first.stderr
    assert open_store(labels).attributes["failed"][0]["name"] == "h-0001"
    assert list(HamiltonianReader(labels).names) == ["h-0000"]

    again = shell("make", tmp_path)
    assert again.returncode == 2 and "Error 75" in again.stderr
    assert "gh-label --set h=0.4 --set max_iterations=7 --resume" in again.stdout
    assert "1 of 2 structures are there already" in again.stderr
    assert not (tmp_path / "h.spectra.zarr").exists()

    # Other settings do not silently discard what is there.
    other = shell("make LABEL_FLAGS='--set h=0.4 --set max_iterations=99'", tmp_path)
    assert other.returncode == 2 and "Error 73" in other.stderr
    assert list(HamiltonianReader(labels).names) == ["h-0000"]

    accepted = shell("make -n ACCEPT_FAILURES=1", tmp_path).stdout
    assert "gh-dos" in accepted and "gh-label" not in accepted
    anew = shell("make -n ANEW=1", tmp_path).stdout
    assert "gh-label --set h=0.4 --set max_iterations=7 --overwrite" in anew
