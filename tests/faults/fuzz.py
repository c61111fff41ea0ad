"""Damaged and hostile stores through the commands: ``python -m tests.faults.fuzz --seed N --count N``.

Each case draws a store of some kind, changes it (see `mutate`), and opens and checks it as ``gh-info --deep`` does;
every seventh goes to a command that computes. Processes are forked from one that has imported everything, and take some
cases each. What must hold: an exit code of the
table, one sentence on standard error, no traceback, no hang, no memory without bound; damage is refused or has
no effect; what cannot be is refused. ``--case K`` repeats one case of a seed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults.mutate import MUTATORS, Mutation

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
CODES = (0, 2, 65, 66, 73, 75)
MEMORY = 3 * 2**30  # bytes that a case may take beside what was imported
# A process runs so many cases; they take some seconds, and a minute where all cores are busy.
BATCH = 50
CPU_SECONDS, SECONDS = 100, 900
OPEN = (
    "open x.{}.zarr"  # no command, but what all of them do first, and all that is read of a store
)
COMPUTED = 7  # one case of so many goes to a command
# Files need not reach a disk; what is synced there, the tests of outputs look at.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# What reads a store of each kind, and how much of it: small arrays all do, "s" structures, "m" matrices, too.
COMMANDS: dict[str, list[tuple[str, str]]] = {
    "structures": [
        ("gh-info --deep --json x.structures.zarr", "sm"),
        ("gh-info --json x.structures.zarr", ""),
        ("gh-label x.structures.zarr --dry-run -o y.zarr", "s"),
        ("gh-infer x.structures.zarr --model x.model.zarr --dry-run -o y.zarr", "s"),
        ("gh-overlap x.structures.zarr --basis x.model.zarr --dry-run -o y.zarr", ""),
    ],
    "hamiltonians": [
        ("gh-info --deep --json x.hamiltonians.zarr", "sm"),
        ("gh-dos x.hamiltonians.zarr --kpts 1 1 1 --points 20 -o y.zarr", "sm"),
        ("gh-bands x.hamiltonians.zarr --points 3 -o y.json", ""),
        ("gh-eval x.hamiltonians.zarr sound.zarr --json", "sm"),
        ("gh-eval sound.zarr x.hamiltonians.zarr --json", "sm"),
        ("gh-fit-scaleshift x.hamiltonians.zarr -o y.zarr", "s"),
        ("gh-infer x.hamiltonians.zarr --model x.model.zarr --dry-run -o y.zarr", "s"),
    ],
    "overlap": [
        ("gh-info --deep --json x.overlap.zarr", "sm"),
        ("gh-infer x.overlap.zarr --model x.model.zarr --dry-run -o y.zarr", "s"),
    ],
    "scaleshift": [
        ("gh-info --deep --json x.scaleshift.zarr", "sm"),
        ("gh-train x.scaleshift.zarr --dry-run -o y.zarr", ""),
    ],
    "model": [
        ("gh-info --deep --json x.model.zarr", "sm"),
        ("gh-infer x.structures.zarr --model x.model.zarr --dry-run -o y.zarr", ""),
        ("gh-overlap x.structures.zarr --basis x.model.zarr --dry-run -o y.zarr", ""),
    ],
    "spectra": [
        ("gh-info --deep --json x.spectra.zarr", "sm"),
        ("gh-bayes 'fermi_level ~ strain' x.spectra.zarr --dry-run -o y.zarr", ""),
    ],
    "posterior": [("gh-info --deep --json x.posterior.zarr", "sm")],
}
PRELOADED = (
    "gh_tools.trained_model.store",
    "gh_tools.spectra.run",
    "gh_tools.spectra.report",
    "gh_tools.spectra.bands",
    "gh_tools.evaluation.evaluate",
    "gh_tools.scaleshift.fit",
    "gh_tools.store.audit",
    "gh_tools.store.summary",
    "gh_tools.inference.checks",
    "gh_tools.training.report",
    "gh_tools.training.data.cache",
    "gh_tools.dft.label",
    "gh_tools.bayes.run",
    "tests.store.small",
)


def call(line: str) -> tuple[int, str, str]:
    """Run a command line in this process; return exit code, standard output and standard error."""
    name, *arguments = shlex.split(line)
    module, attribute = SCRIPTS[name].split(":")
    app = getattr(importlib.import_module(module), attribute)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments, prog_name=name)
            code = 0
        except SystemExit as stop:
            code = stop.code
    return code, *(stream.buffer.getvalue().decode() for stream in (out, err))


def read(path: Path) -> list[str]:
    """Open, check and read a store; return what `results` returns."""
    from gh_tools.errors import GhError
    from gh_tools.store.audit import check_store
    from gh_tools.store.read import open_store

    try:
        store = open_store(path)
        faults, _ = check_store(store, deep=True)
        content = [(key, store[key].tolist(), store.array_attributes(key)) for key in store.keys()]
        found = repr((store.kind, store.schema, store.id, store.attributes, content))
    except GhError as error:
        return [str(error.exit_code), "", "", f"gh-info: error: {error}"]
    return ["65" if faults else "0", found, "", "".join(f"gh-info: error: {f}" for f in faults[:1])]


def results(line: str) -> list[str]:
    """Run a command here; return exit code, what came of it (without history), and standard error."""
    if line.startswith("open "):
        return read(Path(line.split()[1]))
    for path in map(Path, ("y.zarr", "y.zarr.partial", "y.json")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    code, out, err = call(line)
    made = ""
    if Path("y.zarr/zarr.json").exists():
        made = json.loads(Path("y.zarr/zarr.json").read_text())["attributes"]["id"]
    elif Path("y.json").exists():
        made = Path("y.json").read_text()
    if line.startswith("gh-info") and code == 0:
        found = json.loads(out)
        for key in ("history", "bytes"):
            found.pop(key)
        out = json.dumps(found, sort_keys=True)
    return [str(code), out, made, err]


def judge(
    line: str, reads: str, mutation: Mutation, found: list[str], sound: list[str]
) -> str | None:
    """Return what is wrong with how a command ended, or None."""
    code, err = int(found[0]), found[3]
    if code not in CODES:
        return f"exit code {code}: {err[-300:]}"
    if "Traceback" in err or "error: unexpected" in err:
        return f"traceback or unexpected: {err[-300:]}"
    errors = re.findall(r"^gh-[a-z-]+: error: .*$", err, re.MULTILINE)
    if code and code != 2 and (len(errors) != 1 or not err.rstrip().endswith(errors[0])):
        return f"expected one sentence: {err[-300:]!r}"
    if code == 0 and mutation.verdict == "damage" and found[:3] != sound[:3]:
        return "damage was accepted, and changed the result"
    if code == 0 and mutation.verdict == "absurd":
        deep = "(matrix)" in mutation.what and "m" not in reads
        form = "(structure)" in mutation.what and "s" not in reads
        if not deep and not form:
            return "what cannot be was accepted"
    return None


def store_case(stores: Path, rng: np.random.Generator, every: bool) -> tuple[str, list[str]]:
    """Change a store and run commands on it; return what was done, and what is wrong."""
    kind = list(COMMANDS)[rng.integers(len(COMMANDS))]
    store = Path(f"x.{kind}.zarr")
    store.unlink()
    shutil.copytree(stores / store, store)
    lines = [(OPEN.format(kind), "sm")]
    if every:
        lines += COMMANDS[kind]
    elif rng.random() < 1 / COMPUTED:
        lines = [COMMANDS[kind][rng.integers(len(COMMANDS[kind]))]]
    mutator: Callable = MUTATORS[rng.integers(len(MUTATORS))]
    mutation = mutator(store, rng)
    sound = json.loads((stores / "sound.json").read_text())
    faults = {
        line: judge(line, reads, mutation, results(line), sound[line]) for line, reads in lines
    }
    return f"{kind}: {mutation.what}", [
        f"{line}: {fault}" for line, fault in faults.items() if fault
    ]


def parts_case(stores: Path, rng: np.random.Generator, every: bool) -> tuple[str, list[str]]:
    """Damage a part of an unfinished store; publishing must refuse it, or make what it would have made."""
    from gh_tools.errors import GhError
    from gh_tools.store.hamiltonians import HamiltonianWriter
    from gh_tools.store.provenance import Provenance
    from tests.store.small import TABLE, structures, write_parts

    def publish(name: str) -> str:
        HamiltonianWriter(Path(name), structures(), Provenance("gh-label"), resume=True).publish(
            TABLE, {"spins": 1}
        )
        return json.loads((Path(name) / "zarr.json").read_text())["attributes"]["id"]

    write_parts(Path("p.zarr"), Provenance("gh-label"))
    shutil.copytree("p.zarr.partial", "q.zarr.partial")
    expected = publish("p.zarr")
    parts = sorted(Path("q.zarr.partial/parts").glob("*.npz"))
    file = parts[rng.integers(len(parts))]
    content = bytearray(file.read_bytes())
    if rng.random() < 0.7:
        place, bit = int(rng.integers(len(content))), int(rng.integers(8))
        content[place] ^= 1 << bit
        what = f"partial: bit {bit} of byte {place} of {file.name}"
    else:
        content = content[: rng.integers(len(content))]
        what = f"partial: {file.name} cut to {len(content)} bytes"
    file.write_bytes(bytes(content))
    try:
        found = publish("q.zarr")
    except GhError as error:
        return what, [] if error.exit_code in CODES else [f"exit code {error.exit_code}"]
    return what, [] if found == expected else ["a damaged part was published"]


def cache_case(stores: Path, rng: np.random.Generator, every: bool) -> tuple[str, list[str]]:
    """Damage an entry of the sample cache; what is read of it must be what was put there."""
    import jax

    from gh_tools.labels.labels import open_labels
    from gh_tools.labels.split import Split
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.orbitals.pairs import Cutoffs
    from gh_tools.scaleshift.scaleshift import ScaleShift
    from gh_tools.store.read import open_store
    from gh_tools.training.data.cache import cached_samples
    from gh_tools.training.data.samples import SampleMaker

    store = open_store("x.scaleshift.zarr")
    labels = open_labels([open_store("x.hamiltonians.zarr")])
    scaleshift = ScaleShift.from_arrays(store, labels.basis, frame="bond")
    pairs = dict.fromkeys(labels.basis.species_pairs(), 4.8)
    maker = SampleMaker(IrrepLayout(labels.basis), scaleshift, Cutoffs(4.8, pairs))
    split = Split.from_arrays(store)

    def make():
        for index in split.train:
            yield maker(labels.readers[0].read(int(index)), labels.names[index], False)

    def read():
        return [vars(sample) for sample in cached_samples({}, make, Path("cache"))]

    clean = jax.tree.map(np.array, read())
    entry = next(path for path in Path("cache").iterdir() if path.is_dir())
    files = {file.name: file.read_bytes() for file in sorted(entry.iterdir())}
    what, wrong = "", []
    for _ in range(20):
        mutation = _damage_entry(entry, rng)
        what = f"cache: {mutation.what}"
        same = jax.tree.map(np.array_equal, clean, read())
        if not all(jax.tree.leaves(same)):
            wrong.append(f"{what}: another sample was read")
        for name, content in files.items():
            (entry / name).write_bytes(content)
    return what, wrong


def _damage_entry(entry: Path, rng: np.random.Generator) -> Mutation:
    files = sorted(file for file in entry.iterdir() if file.stat().st_size)
    file = files[rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    place, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[place] ^= 1 << bit
    file.write_bytes(bytes(content) if rng.random() < 0.8 else bytes(content[:place]))
    return Mutation(f"bit {bit} of byte {place} of {file.name}, or cut there", "damage")


def enter(stores: Path, folder: Path) -> None:
    """Go to a folder where all the stores are, and one of them by another name, too."""
    os.chdir(folder)
    for store in stores.glob("*.zarr"):
        (folder / store.name).symlink_to(store)
    (folder / "sound.zarr").symlink_to(stores / "x.hamiltonians.zarr")


def run_case(stores: Path, seed: int, case: int, every: bool) -> tuple[str, list[str]]:
    """Run one case in a folder of its own."""
    rng = np.random.default_rng((seed, case))
    kind = store_case
    if case % 25 == 23:
        kind = parts_case
    elif case % 250 == 24:
        kind = cache_case
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        enter(stores, Path(name))
        try:
            return kind(stores, rng, every)
        except Exception:
            return f"{kind.__name__}", [traceback.format_exc()]


def prepare(stores: Path) -> None:
    """Write the stores, and what all commands make of them as they are."""
    from tests.store.small import write_small_stores

    write_small_stores(stores)
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        enter(stores, Path(name))
        sound = {line: results(line) for lines in COMMANDS.values() for line, _ in lines}
        sound |= {line: results(line) for line in map(OPEN.format, COMMANDS)}
    for line, found in sound.items():
        assert found[0] == "0", (line, found)
    (stores / "sound.json").write_text(json.dumps(sound))


def forked(work: Callable[[], None]) -> int:
    """Start a process that does some work under limits; return its number."""
    child = os.fork()
    if child:
        return child
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def run_cases(stores: Path, seed: int, cases: list[int], every: bool, answers: Path) -> None:
    """Run cases one after the other; write a line of JSON for each."""
    with answers.open("w") as stream:
        for case in cases:
            print(json.dumps(run_case(stores, seed, case, every)), file=stream, flush=True)


def fuzz(seed: int, cases: range, jobs: int, every: bool) -> int:
    """Run cases, some at once; print what is wrong, and return how many cases were."""
    for module in PRELOADED:
        importlib.import_module(module)
    for script in SCRIPTS.values():
        importlib.import_module(script.split(":")[0])
    # A process takes several: to fork one that has imported everything takes longer than a case.
    waiting = [list(cases[start : start + BATCH]) for start in range(0, len(cases), BATCH)][::-1]
    failures, running = 0, {}

    def tell(case: int, what: str, wrong: list[str]) -> None:
        nonlocal failures
        failures += 1
        print(f"--seed {seed} --case {case}: {what}", *wrong, sep="\n    ", flush=True)

    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        _, status = os.waitpid(forked(lambda: prepare(folder)), 0)
        assert status == 0, "the stores could not be made"
        while waiting or running:
            while waiting and len(running) < jobs:
                batch = waiting.pop()
                answers = folder / f"{batch[0]}.jsonl"
                child = forked(lambda b=batch, a=answers: run_cases(folder, seed, b, every, a))
                running[child] = batch, answers, time.monotonic()
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                for pid, (_, _, begun) in running.items():
                    if time.monotonic() - begun > SECONDS:
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.01)
                continue
            batch, answers, _ = running.pop(child)
            lines = answers.read_text().splitlines() if answers.exists() else []
            for case, line in zip(batch, lines, strict=False):
                what, wrong = json.loads(line)
                if wrong:
                    tell(case, what, wrong)
            if len(lines) < len(batch):
                tell(batch[len(lines)], f"killed, or out of its limits (status {status})", [])
                if rest := batch[len(lines) + 1 :]:
                    waiting.append(rest)
    return failures


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="of all draws; new if not given")
    parser.add_argument("--count", type=int, default=1000, help="number of cases")
    parser.add_argument("--case", type=int, default=None, help="this one alone")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--all", action="store_true", help="each through all commands of its kind")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    cases = range(given.count) if given.case is None else range(given.case, given.case + 1)
    print(f"seed {seed}, {len(cases)} cases", flush=True)
    failures = fuzz(seed, cases, given.jobs, given.all)
    print(f"seed {seed}: {failures} of {len(cases)} cases failed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
