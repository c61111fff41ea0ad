"""Several machines: a Dask cluster of real processes, shards, and what MPI starts."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import ase
import numpy as np
import psutil
import pytest

import gh_tools
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_part
from gh_tools.errors import TryAgainError
from gh_tools.inference import domain_size
from gh_tools.inference import run as inference
from gh_tools.inference.predict import Predictor
from gh_tools.store.partial import PartialStore
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures
from gh_tools.trained_model.store import load_model
from gh_tools.workers.cluster import Cluster
from gh_tools.workers.task import WorkerDied

from .conftest import BIN

LABEL = "gh-label h2.structures.zarr --set h=0.3 --set vacuum=3.0"
BONDS = (0.7, 0.72, 0.75, 0.78, 0.8, 0.85)
SCHEDULER = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20s",
}


class DaskCluster:
    """A scheduler and two workers of one thread each, as a user starts them."""

    def __init__(self, folder):
        self.file = folder / "scheduler.json"
        common = [BIN / "dask"], {**os.environ, **SCHEDULER}
        self.scheduler = self._start(
            *common, "scheduler", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", ":0"
        )
        self.nannies = self._start(*common, "worker", "--nthreads", "1", "--nworkers", "2")

    def _start(self, command, environment, *arguments):
        line = [*command, *arguments, "--scheduler-file", self.file]
        with (self.file.parent / f"{arguments[0]}.log").open("w") as log:
            return subprocess.Popen(line, env=environment, stdout=log, stderr=log)

    def workers(self):
        """Return the processes of the workers, which their nannies start again if they die."""
        children = psutil.Process(self.nannies.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    def stop(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.nannies.pid).children(recursive=True)
            for process in [*family, self.nannies, self.scheduler]:
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.kill()
        self.nannies.wait()
        self.scheduler.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def executor(dask):
    until(dask.file.exists, dask.scheduler)
    cluster = Cluster(str(dask.file))
    yield cluster
    cluster.close()


def until(condition, *processes):
    """Wait for something that processes do; one that ends without having done it fails the test."""
    while not condition():
        ended = [process.args for process in processes if process.poll() is not None]
        assert not ended or condition(), f"ended: {ended}"
        time.sleep(0.02)


def write_molecules(folder):
    atoms = [ase.Atoms("H2", [(0, 0, 0), (0, 0, d)]) for d in BONDS]
    structures = Structures(atoms, [f"h2-{k}" for k in range(len(BONDS))])
    return write_structures(folder / "h2.structures.zarr", structures, Provenance("test"))


def begin(folder, line):
    """Start a command and wait until its first structure is finished."""
    process = subprocess.Popen(
        [BIN / line.split()[0], *line.split()[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: list(folder.glob("*.partial/parts/0*.npz")) or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    return process


@pytest.fixture(scope="module")
def sharded(shell, tmp_path_factory):
    """Labels made by two shards and joined: the last shard first, as an array of jobs may go."""
    folder = tmp_path_factory.mktemp("shards")
    write_molecules(folder)
    for shard in ("2/2", "1/2"):
        done = shell(f"{LABEL} --shard {shard}", folder)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert not (folder / "h2.hamiltonians.zarr").exists()
    parts = folder / "h2.hamiltonians.zarr.partial/parts"
    assert len(list(parts.glob("0*.npz"))) == len(BONDS)
    done = shell(f"{LABEL} --resume", folder)
    assert (done.returncode, done.stdout) == (0, "h2.hamiltonians.zarr\n"), done.stderr
    assert f"{len(BONDS)} of {len(BONDS)} structures are there already" in done.stderr
    return folder / "h2.hamiltonians.zarr"


def test_interrupted_then_a_worker_is_killed_and_nothing_is_lost(dask, executor, gh, sharded):
    """The store has the bits of the shards, which one process labelled each."""
    write_molecules(gh.folder)
    line = f"{LABEL} --scheduler {dask.file}"
    process = begin(gh.folder, f"{line} -q")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == (
        "gh-label: error: interrupted; what is finished is kept: go on with "
        "'gh-label --resume -o h2.hamiltonians.zarr'\n"
    )
    # What was under way ends, though nobody waits for it any more; what waited is taken back.
    until(
        lambda: (
            not executor._client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        ),
        dask.scheduler,
        dask.nannies,
    )
    until(
        lambda: (
            not any(
                executor._client.run(lambda dask_worker: dask_worker.state.executing_count).values()
            )
        ),
        dask.scheduler,
        dask.nannies,
    )
    parts = gh.folder / "h2.hamiltonians.zarr.partial/parts"
    kept = len(list(parts.glob("0*.npz")))
    assert 1 <= kept < len(BONDS)

    process = begin(gh.folder, f"{line} --resume -v")
    dask.workers()[0].kill()
    stdout, stderr = process.communicate(timeout=200)
    assert (process.returncode, stdout) == (0, "h2.hamiltonians.zarr\n"), stderr
    assert f"{kept} of {len(BONDS)} structures are there already" in stderr
    assert open_store(gh.folder / "h2.hamiltonians.zarr").id == open_store(sharded).id
    assert not (gh.folder / "h2.hamiltonians.zarr.logs").exists()


def test_a_task_that_kills_workers_costs_itself_alone(dask, executor):
    harmless = [(n, (signal.SIGCHLD,)) for n in range(4)]
    tasks = [(0, (signal.SIGCHLD,)), ("deadly", (signal.SIGKILL,)), *harmless[1:]]
    results = dict(executor.run(signal.raise_signal, tasks))
    deadly = results.pop("deadly")
    assert isinstance(deadly, WorkerDied) and deadly.startswith("2 workers died of it")
    assert results == dict.fromkeys(range(4))


def test_workers_that_cannot_do_the_work_are_told_of(dask, executor, tmp_path, monkeypatch):
    parts = Parts(tmp_path / "x.zarr.partial/parts", "token")
    task = parts, 0, ase.Atoms("H"), LabelConfig(), None, tmp_path / "text"
    with pytest.raises(TryAgainError, match=r"does not see .*x\.zarr\.partial; all machines need"):
        list(executor.run(label_part, [(0, task)]))
    monkeypatch.setattr(gh_tools, "__version__", "99.0")
    with pytest.raises(
        TryAgainError, match=r"the worker on .* has gh-tools 0.*; all workers need 99"
    ):
        list(executor.run(label_part, [(0, task)]))


def test_spectra_of_cluster_and_shards(dask, executor, gh, tiny_labels):
    line = f"gh-dos {tiny_labels} --kpts 2 2 1 --points 300 -q"
    done = gh(
        f"{line} -o one.zarr; {line} -o two.zarr --scheduler {dask.file}; "
        f"{line} -o s.zarr --shard 1/3; {line} -o s.zarr --shard 3/3; {line} -o s.zarr --resume"
    )
    assert done.stdout == "one.zarr\ntwo.zarr\ns.zarr\n", done.stderr
    ids = {open_store(gh.folder / name).id for name in ("one.zarr", "two.zarr", "s.zarr")}
    assert len(ids) == 1


def test_domains_on_a_cluster_give_what_the_whole_gives(
    dask, executor, gh, random_model, tiny_labels, monkeypatch
):
    model, predictor = open_store(random_model), Predictor(load_model(random_model))
    small, first = read_structures(tiny_labels).atoms[:2]
    structures = Structures([first.repeat((5, 4, 1)), small], ["large", "small"])
    structures = structures.with_charges(np.zeros(2))  # as the command writes them
    source = write_structures(gh.folder / "x.structures.zarr", structures, Provenance("test"))

    def predict(name, **options):
        path, failures = inference.predict_structures(
            predictor, read_structures(source), gh.folder / name, Provenance("x"), **options
        )
        assert failures == []
        return open_store(path)

    whole = predict("whole.zarr")
    done = gh(f"gh-infer x.structures.zarr -m {random_model} --scheduler {dask.file}")
    assert (done.returncode, done.stdout) == (0, "x.predicted.zarr\n"), done.stderr
    assert open_store(gh.folder / "x.predicted.zarr").id == whole.id

    monkeypatch.setattr(domain_size, "DOMAIN_BYTES", (3e5, 3e5))
    record, pieces = PartialStore.record_outcome, []

    def spy(*arguments):
        pieces.append(arguments[-1])
        return record(*arguments)

    monkeypatch.setattr(PartialStore, "record_outcome", spy)
    divided = predict("divided.zarr", cluster=executor, model=model)
    assert len(pieces) > 4
    for key in whole.keys():
        if whole[key].dtype == np.float32:
            # Pairs stand in other places of their chunks, where the same sums may round otherwise.
            np.testing.assert_allclose(divided[key], whole[key], rtol=0, atol=1e-5)
        else:
            np.testing.assert_array_equal(divided[key], whole[key])


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--scheduler nowhere.json", 66, "nowhere.json: no such scheduler file"),
        ("--scheduler tcp://127.0.0.1:9", 75, "no scheduler answers there"),
        ("--scheduler tcp://127.0.0.1:9 -j 2", 2, "--jobs is for this machine alone"),
        ("--shard 0/2", 2, "expected I/N"),
    ],
)
def test_bad_schedulers_and_shards(call, tmp_path, monkeypatch, options, code, said):
    import dask

    write_molecules(tmp_path)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        done = call(f"{LABEL} {options}", tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["h2.structures.zarr"]


def test_without_dask_the_extra_is_named(call, tmp_path, monkeypatch):
    write_molecules(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = call(f"{LABEL} --scheduler tcp://127.0.0.1:9", tmp_path)
    assert done.returncode == 69 and "gh-tools[cluster]" in done.stderr


def test_copies_that_mpi_starts_are_refused(call, tmp_path, monkeypatch, tiny_labels):
    """Unless GPAW has MPI, or each has a shard of its own."""
    write_molecules(tmp_path)
    monkeypatch.setenv("SLURM_NTASKS", "2")  # of the whole job: its script is one process
    assert call(f"{LABEL} --dry-run", tmp_path).returncode == 0
    monkeypatch.setenv("PMI_SIZE", "2")
    for rank, (name, line) in [
        (rank, case)
        for rank in ("0", "1")
        for case in [
            ("GPAW was built without this MPI", LABEL),
            ("gh-dos is one", f"gh-dos {tiny_labels} -o x.zarr"),
        ]
    ]:
        monkeypatch.setenv("PMI_RANK", rank)
        done = call(line, tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert name in done.stderr if rank == "0" else not done.stderr
    assert call(f"{LABEL} --dry-run --shard 1/2", tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["h2.structures.zarr"]


def test_killing_the_scheduler_ends_the_command_and_resume_goes_on(dask, gh, sharded):
    write_molecules(gh.folder)
    process = begin(gh.folder, f"{LABEL} --scheduler {dask.file} -q")
    dask.scheduler.kill()
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (75, "")
    assert stderr.startswith("gh-label: error: lost the scheduler") and stderr.count("\n") == 1
    dask.stop()  # or workers would finish what they are at
    parts = gh.folder / "h2.hamiltonians.zarr.partial/parts"
    kept = len(list(parts.glob("0*.npz")))
    done = gh(f"{LABEL} --resume -v")
    assert (done.returncode, done.stdout) == (0, "h2.hamiltonians.zarr\n"), done.stderr
    assert f"{kept} of {len(BONDS)} structures are there already" in done.stderr
    assert open_store(gh.folder / "h2.hamiltonians.zarr").id == open_store(sharded).id
