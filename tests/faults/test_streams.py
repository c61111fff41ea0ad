"""Streams that are closed, full or ASCII, files that never end, and names that speak to the terminal."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from gh_tools.cli.configuration import load_config
from gh_tools.console import printable
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.evaluation.evaluate import evaluate
from gh_tools.resources import source_date
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, write_structures

BIN = Path(sys.executable).parent
EVIL = "\x1b[2J[red]\x9b31m[/]\u202e"


@pytest.fixture(autouse=True)
def no_hang():
    """Whatever would wait for ever fails instead."""

    def ring(number, frame):
        raise TimeoutError("waited for ever")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    structures = Structures([Atoms("H", cell=[3, 3, 3], pbc=True)], ["hydrogen"], {})
    made = Provenance("gh-build", argv=["gh-build", f"file{EVIL}"])
    return write_structures(folder / "å.structures.zarr", structures, made)


def bash(line, folder, **environment):
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("gh-tools >&-", 73, "standard output: it is closed"),
        ("gh-info å.structures.zarr >/dev/full", 73, "standard output: No space left on device"),
        ("gh-tools --help >/dev/full", 73, "standard output: No space left on device"),
        ("gh-tools --version >&-", 73, "standard output: it is closed"),
        ("gh-tools --help | true", 0, ""),
        ("gh-info nothing 2>/dev/full", 66, ""),
        ("gh-info nothing >&- 2>&- <&-", 66, ""),
        ("gh-info <&-", 2, "no input"),
        ("head -c 20000000 /dev/zero | gh-info", 65, "standard input"),
        ("yes | gh-info", 65, "standard input"),
    ],
)
def test_a_stream_that_cannot_be_used_is_a_sentence_or_no_matter(store, line, code, said):
    done = bash(line, store.parent)
    error = done.stderr.decode()
    assert done.returncode == code, error
    assert said in error
    assert error.count("\n") == (1 if said else 0)
    assert "Traceback" not in error


def test_a_closed_stream_is_not_what_a_store_is_written_to(store):
    """The next file that is opened gets the lowest free descriptor, which libraries print to."""
    code = (
        "import os, subprocess, sys; from gh_tools.console import open_streams; open_streams()\n"
        "child = 'import os, sys; sys.stderr.fileno(); os.fstat(0)'\n"
        "print(os.open('/', 0), subprocess.run([sys.executable, '-c', child]).returncode)"
    )
    done = bash(f'{sys.executable} -c "{code}" <&- 2>&-', store.parent)
    opened, returncode = map(int, done.stdout.split())
    assert opened > 2
    assert returncode == 0, "processes that are started have the streams, too"


def test_what_an_encoding_lacks_is_escaped_and_paths_stay_what_they_are(store):
    shown = bash("gh-info å.structures.zarr", store.parent, PYTHONIOENCODING="ascii")
    assert shown.returncode == 0, shown.stderr
    assert b"\\xe5.structures.zarr: structures" in shown.stdout
    line = "gh-build agau --set size=[1,1,1] -o ö.zarr | tee path | gh-info --json"
    piped = bash(line, store.parent, PYTHONIOENCODING="ascii")
    assert piped.returncode == 0, piped.stderr
    assert (store.parent / "path").read_bytes() == "ö.zarr\n".encode()


def test_nothing_that_a_file_holds_reaches_the_terminal_raw(store):
    shown = bash("gh-info å.structures.zarr", store.parent)
    assert shown.returncode == 0, shown.stderr
    assert "file\\x1b[2J[red]\\x9b31m[/]\\u202e" in shown.stdout.decode()
    failed = bash(f"gh-info '{EVIL}\n'", store.parent).stderr.decode()
    assert failed.startswith("gh-info: error: \\x1b[2J[red]\\x9b31m[/]\\u202e\\n: no such store")
    assert failed.count("\n") == 1
    # In a process of its own, because tests that run commands in this one give streams to the console.
    show = f"from gh_tools.console import table; table([[{EVIL!r}, 1]], ['name', 'number'], title={EVIL!r})"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
    assert done.stderr.count("\\x1b[2J[red]\\x9b31m[/]\\u202e") == 2
    assert printable({"a\n": ["\x00", 1, ("é",)]}) == {"a\\n": ["\\x00", 1, ["é"]]}


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("a = " + "[" * 10_000 + "]" * 10_000, UsageError, "deep"),
        ("a" + ".a" * 100_000 + " = 1", UsageError, "parts"),
        ("[" + '"a".' * 100_000 + "a]", UsageError, "parts"),
        ("#" * (1 << 21), UsageError, "1 MiB"),
        (b"\xff\xfe", UsageError, "UTF-8"),
        ("a = ", UsageError, "not valid TOML"),
    ],
)
def test_a_configuration_that_cannot_be_one_is_refused_at_once(tmp_path, content, error, said):
    file = tmp_path / "config.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(error, match=said):
        load_config(LabelConfig, file, None)


def test_a_configuration_comes_from_a_file_or_a_pipe_and_never_hangs(tmp_path):
    for name in ("/dev/zero", str(tmp_path)):
        with pytest.raises(UsageError, match="found a folder or a device"):
            load_config(LabelConfig, Path(name), None)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NoInputError, match="nobody writes"):
        load_config(LabelConfig, tmp_path / "pipe", None)
    # A shell's <(...) is read twice where the configuration names the recipe.
    for line in (
        "gh-build -c <(sleep 1; echo 'recipe = \"agau\"'; echo 'size = [1, 1, 2]') --print-config",
        "gh-build agau -c <(echo 'size = [1, 1, 2]') --print-config",
    ):
        done = bash(line, tmp_path)
        assert done.returncode == 0, done.stderr
        assert b"size = [1, 1, 2]" in done.stdout


@pytest.mark.parametrize(
    "setting",
    ['h=0.2\nxc="LDA"', "h=0.2\rxc=LDA", "=1", "a..b=1", "a." * 40 + "a=1", "h=" + "[" * 5000],
)
def test_a_setting_is_one_key_and_one_value(setting):
    with pytest.raises(UsageError, match="--set"):
        load_config(LabelConfig, None, [setting])


@pytest.mark.parametrize("xc", ["None", "", "LDA_X_NO_SUCH"])
def test_a_functional_that_there_is_not_is_a_sentence(xc):
    with pytest.raises(
        UsageError, match=r"xc: (neither GPAW nor libxc has a functional|expected one of LDA)"
    ):
        basis_table(LabelConfig(xc=xc), [1])


@pytest.mark.parametrize("epoch", ["abc", "", "99999999999999999999", "1.5"])
def test_a_source_date_that_is_no_time_is_refused(monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        source_date()


def test_a_source_date_is_looked_at_before_any_library_does(tmp_path):
    done = bash("gh-build agau", tmp_path, SOURCE_DATE_EPOCH="abc")
    assert done.returncode == 2
    assert b"SOURCE_DATE_EPOCH" in done.stderr


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_elements_that_are_not_finite_are_refused_and_do_not_hang(tiny_labels, tmp_path, value):
    """Bins that widen until they hold an infinity would widen for ever."""
    reference = HamiltonianReader(tiny_labels)

    class Damaged(HamiltonianReader):
        def read(self, index):
            hamiltonian = super().read(index)
            next(iter(hamiltonian.pairs.values())).hamiltonian[0, 0, 0] = value
            return hamiltonian

    with pytest.raises(DataError, match="not finite"):
        evaluate(Damaged(tiny_labels), reference)


@pytest.mark.parametrize("damage", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["zarr.json", "atoms/number/zarr.json", "atoms/number/c/0"])
def test_a_file_of_a_store_that_never_ends_is_refused(store, tmp_path, name, damage):
    copy = tmp_path / "copy.zarr"
    shutil.copytree(store, copy)
    (copy / name).unlink()
    damage(copy / name)
    with pytest.raises(DataError, match=r"copy\.zarr"):
        open_store(copy)


def test_a_store_of_links_to_files_is_a_store(store, tmp_path):
    for file in [file for file in store.rglob("*") if file.is_file()]:
        link = tmp_path / "links.zarr" / file.relative_to(store)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    assert open_store(tmp_path / "links.zarr")["atoms/number"].tolist() == [1]
