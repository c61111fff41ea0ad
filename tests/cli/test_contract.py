"""What holds for every command: exit codes, one-sentence errors, standard output, nothing half done.

Each line runs in a shell with the installed commands, as a user or a Makefile runs them.
"""

import json
import re
import shutil

import pytest

from gh_tools.store.read import open_store

# How each command is called on one input, with the least of options that it must be given.
COMMANDS = {
    "gh-label": "gh-label {input}",
    "gh-fit-scaleshift": "gh-fit-scaleshift {input}",
    "gh-train": "gh-train {input}",
    "gh-infer": "gh-infer {input} --model model.zarr",
    "gh-select": "gh-select {input} --model model.zarr",
    "gh-overlap": "gh-overlap {input} --basis model.zarr",
    "gh-dos": "gh-dos {input}",
    "gh-bands": "gh-bands {input}",
    "gh-ldos": "gh-ldos {input} --state 0",
    "gh-optics": "gh-optics {input}",
    "gh-transport": "gh-transport {input}",
    "gh-bayes": "gh-bayes 'y ~ x' {input}",
    "gh-eval": "gh-eval {input} hamiltonians.zarr",
    "gh-info": "gh-info {input}",
    "gh-export": "gh-export {input} --to npz -o x.npz",
}
WRITERS = {name: line for name, line in COMMANDS.items() if name != "gh-info"}
# The kind of store that each reads, and the name of what it would write for the input "x".
READS = {
    "gh-label": ("structures", "x.hamiltonians.zarr"),
    "gh-fit-scaleshift": ("hamiltonians", "x.scaleshift.zarr"),
    "gh-train": ("scaleshift", "x.model.zarr"),
    "gh-infer": ("structures", "x.predicted.zarr"),
    "gh-select": ("structures", "x.selected.zarr"),
    "gh-overlap": ("structures", "x.overlap.zarr"),
    "gh-dos": ("hamiltonians", "x.spectra.zarr"),
    "gh-bands": ("hamiltonians", "x.bands.png"),
    "gh-ldos": ("hamiltonians", "x.ldos.cube"),
    "gh-optics": ("hamiltonians", "x.optics.png"),
    "gh-transport": ("hamiltonians", "x.transport.png"),
    "gh-bayes": ("spectra", "x.posterior.zarr"),
    "gh-export": ("hamiltonians", "x.npz"),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory, small_stores):
    """Return a folder with stores that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("stores")
    for kind, path in small_stores.items():
        shutil.copytree(path, folder / f"{kind}.zarr")
    (folder / "text.zarr").write_text("not a store\n")
    (folder / "partial.zarr.partial").mkdir()
    for name, change in {
        "newer": {"schema": 3},
        "unfinished": {"status": "writing"},
    }.items():
        for kind in ("structures", "hamiltonians", "scaleshift", "spectra"):
            copy = folder / f"{name}-{kind}.zarr"
            shutil.copytree(folder / f"{kind}.zarr", copy)
            document = json.loads((copy / "zarr.json").read_text())
            document["attributes"].update(change)
            (copy / "zarr.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def fails(shell, stores):
    """Return a function that runs a line, and checks all that a failure must be."""

    def run(line, code, *messages, stdin=""):
        before = sorted(path.name for path in stores.iterdir())
        done = shell(line, stores, stdin)
        name = re.findall(r"gh-[a-z-]+", line)[-1]
        assert done.returncode == code, (line, done)
        assert done.stdout == "", line
        assert "Traceback" not in done.stderr, (line, done.stderr)
        last = done.stderr.splitlines()[-1] if done.stderr else ""
        if code != 2 or last.startswith(name):
            assert last.startswith(f"{name}: error: "), (line, done.stderr)
        for message in messages:
            assert message in done.stderr, (line, done.stderr)
        assert sorted(path.name for path in stores.iterdir()) == before, line
        return done

    return run


@pytest.fixture
def refuses(stores, call):
    """Return a function that gives a bad store to a command, and returns what it says."""

    def run(name, path, code=65):
        done = call(COMMANDS[name].format(input=path), stores)
        assert done.returncode == code, done
        assert done.stdout == ""
        assert done.stderr.startswith(f"{name}: error: {path}: ")
        assert done.stderr.count("\n") == 1
        return done.stderr

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_missing_input(fails, name):
    fails(COMMANDS[name].format(input="missing.zarr"), 66, "missing.zarr")


@pytest.mark.parametrize("name", READS)
def test_a_missing_input_is_told_before_an_existing_output(call, tmp_path, name):
    (tmp_path / READS[name][1]).write_text("precious")
    done = call(COMMANDS[name].format(input=f"x.{READS[name][0]}.zarr"), tmp_path)
    assert done.returncode == 66 and "no such store" in done.stderr, done


@pytest.mark.parametrize("name", COMMANDS)
def test_empty_pipe(fails, name):
    fails(f"true | {COMMANDS[name].format(input='-')}", 66, "the upstream command produced nothing")


@pytest.mark.parametrize("name", [*COMMANDS, "gh-build"])
def test_unknown_option(fails, name):
    line = "gh-build wse2" if name == "gh-build" else COMMANDS[name].format(input="x.zarr")
    fails(f"{line} --nonsense", 2, "--nonsense")


@pytest.mark.parametrize("name", WRITERS)
def test_store_of_the_wrong_kind(refuses, name):
    assert "found posterior" in refuses(name, "posterior.zarr")


@pytest.mark.parametrize("name", READS)
def test_newer_schema(refuses, name):
    assert "update gh-tools" in refuses(name, f"newer-{READS[name][0]}.zarr")


@pytest.mark.parametrize("name", READS)
def test_unfinished_store(refuses, name):
    assert "the store is unfinished" in refuses(name, f"unfinished-{READS[name][0]}.zarr")


def test_partial_store_and_no_store(refuses):
    assert "--resume" in refuses("gh-info", "partial.zarr", 66)
    assert "not a store" in refuses("gh-info", "text.zarr")
    assert "not a store" in refuses("gh-info", ".")


@pytest.mark.parametrize("name", READS)
def test_existing_output_is_refused_and_left_alone(shell, stores, tmp_path, name):
    kind, output = READS[name]
    for needed in {
        kind,
        "hamiltonians",
    }:  # those that a scale-shift was fitted to are an input, too
        shutil.copytree(stores / f"{needed}.zarr", tmp_path / f"x.{needed}.zarr")
    shutil.copytree(stores / "model.zarr", tmp_path / "model.zarr")
    shutil.rmtree(tmp_path / output, ignore_errors=True)
    (tmp_path / output).write_text("precious")
    done = shell(COMMANDS[name].format(input=f"x.{kind}.zarr"), tmp_path)
    assert done.returncode == 73, done
    assert "another --output" in done.stderr
    assert done.stdout == ""
    assert (tmp_path / output).read_text() == "precious"


def test_what_is_no_device_for_another_program(fails, stores, call, tmp_path):
    line = "gh-transport hamiltonians.zarr"
    for ending in (".npz", ".fdf"):
        fails(f"{line} -o x{ending}", 2, f"{ending} holds a device and its leads")
    line += " --left hamiltonians.zarr"
    fails(f"{line} -o 'my device.fdf'", 2, "have names of letters")
    (tmp_path / "x.left.TSHS").write_text("precious")
    done = call(f"{line} -o {tmp_path}/x.fdf", stores)
    assert (done.returncode, done.stdout) == (73, "")
    assert f"{tmp_path}/x.left.TSHS: exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.left.TSHS"]


def test_failure_runs_down_a_pipe(shell, tmp_path):
    """Every command of a pipe whose first one failed says so, and the first names the cause."""
    done = shell("gh-build missing.xyz | gh-label | gh-fit-scaleshift | gh-train", tmp_path)
    assert done.returncode == 66
    lines = done.stderr.splitlines()
    assert sum("missing.xyz" in line for line in lines) == 1
    assert sum("the upstream command produced nothing" in line for line in lines) == 3
    assert list(tmp_path.iterdir()) == []


def test_standard_output_carries_results_only(gh):
    small = "--set size=[1,1] --set orthogonal=false"
    done = gh(f"gh-build wse2 {small}")
    assert done.stdout == "wse2.structures.zarr\n"
    assert done.stderr != ""
    done = gh(f"gh-build wse2 {small} --json --overwrite")
    assert json.loads(done.stdout)["path"] == "wse2.structures.zarr"
    done = gh(f"gh-build wse2 {small} -q --overwrite")
    assert (done.stdout, done.stderr) == ("wse2.structures.zarr\n", "")
    # A later command reads either form, from - or from the pipe itself.
    for line in (
        "echo wse2.structures.zarr | gh-info --json",
        'echo \'{"path": "wse2.structures.zarr"}\' | gh-info --json -',
    ):
        assert json.loads(gh(line).stdout)["kind"] == "structures"
    assert gh("echo '{\"nothing\": 1}' | gh-info").returncode == 65


@pytest.mark.parametrize(
    "line, result",
    [
        ("gh-info --deep {labels}", None),
        (
            "gh-fit-scaleshift {labels} --fractions 0.5,0.25,0.25 -o x.scaleshift.zarr",
            "x.scaleshift.zarr",
        ),
        ("gh-overlap {labels} -o x.overlap.zarr", "x.overlap.zarr"),
        ("gh-dos {labels} --kpts 1 1 1 --points 50 -o x.spectra.zarr", "x.spectra.zarr"),
        ("gh-bands {labels} --points 5 -o x.json", "x.json"),
        ("gh-ldos {labels} --state 0 --spacing 1 --kpts 1 1 1 -o x.xsf", "x.xsf"),
        ("gh-optics {labels} --kpts 2 2 1 --set points=5 -o x.csv", "x.csv"),
        ("gh-transport {labels} --points 3 -o x.json", "x.json"),
        ("gh-eval {labels} {labels}", None),
    ],
)
def test_results_of_real_labels(call, tiny_labels, tmp_path, line, result):
    line = line.format(labels=tiny_labels)
    quiet = call(f"{line} -q", tmp_path)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    if result is not None:
        assert quiet.stdout == f"{result}\n"
        assert [path.name for path in tmp_path.iterdir()] == [result]
        line += " --overwrite"
    lines = call(f"{line} --json", tmp_path).stdout.splitlines()
    assert len(lines) == 1
    found = json.loads(lines[0])
    if result is None:
        assert str(tiny_labels) in (found.get("path"), found.get("predicted"))
    else:
        assert found["path"] == result


def test_dry_run_writes_nothing(gh):
    done = gh("gh-build wse2 -n 3 --dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "wse2.structures.zarr" in done.stderr
    assert list(gh.folder.iterdir()) == []


def test_overwrite_replaces_the_store_whole(gh):
    small = "--set size=[1,1] --set orthogonal=false -o x.zarr"
    gh(f"gh-build wse2 {small}")
    first = open_store(gh.folder / "x.zarr").id
    assert gh(f"gh-build wse2 {small} --seed 1 --overwrite").returncode == 0
    assert open_store(gh.folder / "x.zarr").id != first
    assert [path.name for path in gh.folder.iterdir()] == ["x.zarr"]


def test_debug_shows_the_traceback_before_the_sentence(gh):
    done = gh("gh-info missing.zarr --debug")
    assert done.returncode == 66
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("gh-info: error: missing.zarr: no such store")


def test_reader_that_goes_away_is_no_error(gh):
    gh("gh-build wse2 --set size=[1,1] --set orthogonal=false -o x.zarr")
    done = gh(f"gh-info {'x.zarr ' * 40} | head -n 1")
    assert done.returncode == 0
    assert done.stderr == ""


def test_table_covers_every_command(commands):
    # gh-build and gh-import read no stores.
    assert {*COMMANDS, "gh-build", "gh-import", "gh-tools"} == set(commands)
