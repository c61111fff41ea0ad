"""Examples are run: those of every --help, of the README, and the Python of the documents, on small stores."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tiny_configuration

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "share/gh_tools/docs"
CELL = "--set size=[1,1] --set orthogonal=false --set se_vacancies=0"
# What makes an example small; all else is run as it stands.
REDUCED = {
    " -n 20 -o next": " -n 2 -o next",
    "-n 40": "-n 2",
    "-n 100": "-n 6",
    "size=[2,2]": "size=[1,1]",
    "--budget 10m": "--budget 1s",
    "--preset wse2": "--preset wse2 --set kpts=[2,2,1] --set h=0.32",
    "kpts=[3,3,1]": "kpts=[1,1,1]",
    "--kpts 1 12 1": "--kpts 1 2 1 --points 5",
    "--plot posterior.png": "--plot posterior.png --chains 2 --draws 200 --tune 200",
}
# In the order in which one makes what the next reads.
ORDER = "tools build label info fit-scaleshift train infer overlap eval select dos bands ldos optics transport bayes export import".split()


def reduced(line):
    for whole, part in REDUCED.items():
        line = line.replace(whole, part)
    return line


@pytest.fixture(scope="module")
def folder(shell, tiny_labels, tmp_path_factory):
    """A folder with the stores that the examples name, as far as none of them makes them."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("wse2", "test"):
        shutil.copytree(tiny_labels, folder / f"{name}.hamiltonians.zarr")
    for name in ("train", "large", "device"):
        done = shell(f"gh-build wse2 -n 1 {CELL} -o {name}.structures.zarr", folder)
        assert done.returncode == 0, done.stderr
    return folder


def run(shell, line, folder):
    done = shell(line, folder)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done


def test_the_example_of_every_command_runs(shell, folder, commands):
    assert sorted(f"gh-{name}" for name in ORDER) == sorted(commands)
    for name in ORDER:
        if name == "import":  # another program's files, as its example names them
            run(shell, "gh-export wse2.hamiltonians.zarr --to deeph -o run-1", folder)
        if name == "eval":
            shutil.copytree(folder / "wse2.predicted.zarr", folder / "test.predicted.zarr")
        run(shell, reduced(commands[f"gh-{name}"].example), folder)
        if name == "infer":  # what the examples of gh-dos and gh-bands read
            run(
                shell,
                "gh-infer wse2.hamiltonians.zarr -m wse2.model.zarr -o wse2.predicted.zarr",
                folder,
            )
        if name == "dos":
            run(shell, "gh-dos wse2.hamiltonians.zarr --kpts 2 2 1 --carriers W,Se", folder)
    for picture in ("dos.png", "bands.png", "posterior.png"):
        assert (folder / picture).stat().st_size > 5000
    snippets(folder)


def snippets(folder):
    """Run the Python of each document in a process, in the folder of the examples."""
    seen = 0
    for document in sorted(DOCUMENTS.rglob("*.md")):
        if document.stem == "your-own-material":  # has a test of its own
            continue
        blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.M | re.S)
        # A cluster's queue is nothing that a test has; test_topology.py and test_kwant.py run the libraries.
        elsewhere = re.compile("dask_jobqueue|import (pythtb|z2pack|kwant)")
        blocks = [block for block in blocks if not elsewhere.search(block)]
        if not blocks:
            continue
        seen += 1
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks)], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{document}\n{done.stderr}"
    assert seen >= 2


def test_the_chain_of_the_readme_runs(installed, tmp_path):
    block = re.search(
        r"^```sh\n(gh-build wse2.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S
    )
    lines = block[1].replace("|\n", "|").splitlines()
    assert len(lines) == 3
    # Of the default network, which the example of gh-train trains, one is enough.
    (tmp_path / "tiny.toml").write_text(tiny_configuration(epochs=1, last_layers=2))
    for whole in (
        reduced(lines[0]).replace(
            "| gh-fit-scaleshift", "| gh-fit-scaleshift --fractions 0.5,0.5,0"
        ),
        *map(reduced, lines[1:]),
    ):
        if "gh-train" in whole:
            whole = whole.replace("gh-train", "gh-train -c tiny.toml")
        if "gh-bayes" in whole:
            whole = whole.replace("se_vacancy_rate + ", "") + " --chains 2 --draws 200 --tune 200"
        run(installed, whole, tmp_path)
