"""What the documents tell to type runs as it stands there, in order, but for sizes: fewer and smaller cells, a coarse
grid, a small network. The default one is trained by tests/cli/test_examples.py."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gh_tools as gh
from tests.commands.server import forked
from tests.conftest import tiny_configuration

DOCS = Path(__file__).parents[2] / "share/gh_tools/docs"
# What makes minutes of DFT and training seconds; of a command of the page whatever else it has stays.
SMALLER = (
    (r"(gh-build \S+) -n (44|40|12)\b", r"\1 -n 3 --set cells=[1,2]"),
    (r" --set cells=\[5,8\]", " --set cells=[2,2]"),
    (r" -n 5\b", " -n 1"),
    (r"size=\[2,2,1\]", "size=[2,1,1]"),
    (r"size=\[4,4,1\]", "size=[2,2,1]"),
    (r"size=\[2,2,2\]", "size=[2,1,1]"),
    (r"gh-label ", "gh-label --set h=0.3 --set kpoint_density=0.5 --set basis=sz(dzp) "),
    (r"--budget \d+m", "-c tiny.toml"),
    (r"sz\(dzp\)", "'sz(dzp)'"),
    (r"--kpts 3 3 [13]", "--kpts 2 1 1"),
)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of all blocks of a page that a reader runs."""
    return re.findall(r"^```(sh|python)\n(.*?)^```", page.read_text(), re.M | re.S)


def smaller(text: str) -> str:
    for pattern, instead in SMALLER:
        text = re.sub(pattern, instead, text)
    return text


@pytest.mark.parametrize("example", ["layer", "bulk"])
def test_your_own_material(example, tmp_path):
    found = blocks(DOCS / "tutorials/your-own-material.md")
    bulk = next(n for n, (_, text) in enumerate(found) if "ase.build" in text)
    chosen = found[:bulk] if example == "layer" else found[bulk:]
    assert len(chosen) > 1
    (tmp_path / "tiny.toml").write_text(tiny_configuration(epochs=2, last_layers=2))
    path = f"{forked()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path}
    for language, text in chosen:
        command = ["bash", "-e", "-c"] if language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, smaller(text)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    if example == "layer":
        assert (tmp_path / "learning.png").exists()
        for name, atoms in (("large", 8), ("vacancy", 7)):
            assert len(gh.open(tmp_path / f"{name}.predicted.zarr")[0].atoms) == atoms
    else:
        assert (tmp_path / "sic-large.predicted.spectra.zarr/zarr.json").exists()


def test_the_notebook(tiny_labels, random_bond_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    shutil.copytree(tiny_labels, "train.hamiltonians.zarr")
    shutil.copytree(random_bond_model, "train.model.zarr")
    cells = json.loads((DOCS / "tutorials/notebook.ipynb").read_text())["cells"]
    namespace: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "notebook", "exec"), namespace)
