"""Cases of `fuzz`: what is changed, what reads it, and what must hold of how that ends."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.faults import texts
from tests.faults.mutate import MUTATORS, Mutation

ROOT = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
CODES = (0, 2, 65, 66, 69, 73, 75)
OPEN = (
    "open x.{}.zarr"  # no command, but what all of them do first, and all that is read of a store
)
COMPUTED = 7  # one case of so many goes to a command

# What reads a store of each kind, and how much of it: small arrays all do, "s" structures, "m" matrices, too.
COMMANDS: dict[str, list[tuple[str, str]]] = {
    "structures": [
        ("gh-info --deep --json x.structures.zarr", "sm"),
        ("gh-info --json x.structures.zarr", ""),
        ("gh-label x.structures.zarr --dry-run -o y.zarr", "s"),
        ("gh-infer x.structures.zarr --model x.model.zarr --dry-run -o y.zarr", "s"),
        ("gh-overlap x.structures.zarr --basis x.model.zarr --dry-run -o y.zarr", ""),
        ("gh-export x.structures.zarr --to extxyz -o y.json", "s"),
    ],
    "hamiltonians": [
        ("gh-info --deep --json x.hamiltonians.zarr", "sm"),
        ("gh-dos x.hamiltonians.zarr --kpts 1 1 1 --points 20 -o y.zarr", "sm"),
        ("gh-bands x.hamiltonians.zarr --points 3 -o y.json", ""),
        ("gh-eval x.hamiltonians.zarr sound.zarr --json", "sm"),
        ("gh-eval sound.zarr x.hamiltonians.zarr --json", "sm"),
        ("gh-fit-scaleshift x.hamiltonians.zarr -o y.zarr", "s"),
        ("gh-infer x.hamiltonians.zarr --model x.model.zarr --dry-run -o y.zarr", "s"),
        ("gh-export x.hamiltonians.zarr --to npz -o y.files", "s"),
        ("gh-export x.hamiltonians.zarr --to wannier90 -o y.files", "s"),
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
        ("gh-export x.spectra.zarr --to json -o y.json", "s"),
    ],
    "posterior": [("gh-info --deep --json x.posterior.zarr", "sm")],
}


def call(line: str) -> tuple[int, str, str]:
    """Run a command line in this process; return exit code, standard output and standard error."""
    name, *arguments = shlex.split(line)
    module, attribute = SCRIPTS[name].split(":")
    app = getattr(importlib.import_module(module), attribute)
    # As Python opens them where text is UTF-8
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)
        for errors in ("surrogateescape", "backslashreplace")
    )
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(arguments, prog_name=name)
            code = 0
        except SystemExit as stop:
            code = stop.code
    return code, *(stream.buffer.getvalue().decode(errors="replace") for stream in (out, err))


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
    for path in map(Path, ("y.zarr", "y.zarr.partial", "y.json", "y.files")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    code, out, err = call(line)
    made = ""
    if Path("y.zarr/zarr.json").exists():
        made = json.loads(Path("y.zarr/zarr.json").read_text())["attributes"]["id"]
    elif Path("y.json").exists():
        made = Path("y.json").read_text()
    elif Path("y.files").exists():
        files = [file for file in sorted(Path("y.files").rglob("*")) if file.is_file()]
        made = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
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


def text_case(stores: Path, rng: np.random.Generator, every: bool) -> tuple[str, list[str]]:
    """Change a text that a command reads, or its options; what it makes must be sound, and nothing else be left."""
    found = json.loads((stores / "sound.json").read_text())["configurations"]
    line, what = texts.draw_line(stores, found, rng, every)
    before = set(os.listdir())
    code, out, err = call(line)
    wrong = [judge(line, "", Mutation(what, "any"), [str(code), out, "", err], [])]
    left = set(os.listdir()) - before
    if code == 0 and "y.zarr" in left and read(Path("y.zarr"))[0] != "0":
        wrong.append("it made a store that is not sound")
    if litter := [name for name in left if name.startswith(".") or name == "owned"]:
        wrong.append(f"it left {litter}")
    if code and (made := left & {"y.zarr", "y.json", "y.png"}):
        wrong.append(f"it failed, and made {made}")
    if set(err) & set("\x1b\x9b\u202e"):
        wrong.append("escape sequences reach the terminal")
    return f"{line[:500]}: {what}", [fault for fault in wrong if fault]


def publish_parts(path: Path) -> str:
    """Publish a store of Hamiltonians from its parts, which are made unless they are there; return its id."""
    from gh_tools.store.hamiltonian_writer import HamiltonianWriter
    from gh_tools.store.provenance import Provenance
    from tests.store.small import TABLE, structures, write_parts

    made = Provenance("gh-label")
    if not path.with_name(f"{path.name}.partial").exists():
        write_parts(path, made)
    HamiltonianWriter(path, structures(), made, resume=True).publish(TABLE, {"spins": 1})
    return json.loads((path / "zarr.json").read_text())["attributes"]["id"]


def parts_case(stores: Path, rng: np.random.Generator, every: bool) -> tuple[str, list[str]]:
    """Damage a part of an unfinished store; publishing must refuse it, or make what it would have made."""
    from gh_tools.errors import GhError
    from gh_tools.store.provenance import Provenance
    from tests.store.small import write_parts

    write_parts(Path("q.zarr"), Provenance("gh-label"))
    expected = json.loads((stores / "sound.json").read_text())["parts"]
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
        found = publish_parts(Path("q.zarr"))
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
