"""What pages say to type is run, page by page and in its order, on stores of three-atom cells."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk, graphene, mx2
from ase.io import write

from gh_tools.formats import table
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from tests.conftest import tiny_configuration
from tests.formats.sample import sample
from tests.overlap.gaussians import gaussian_label, silicon

pytest.importorskip("h5py")
ROOT = Path(__file__).parents[2]
SHARE = ROOT / "share/gh_tools"
PAGES = {page.stem: page for page in sorted(SHARE.glob("docs/how-to/*.md"))}

PAGES["quickstart"] = SHARE / "docs/tutorials/quickstart.md"
# Pages whose blocks are make's.
PLANNED = [PAGES.pop("doping-study"), *sorted(SHARE.glob("benchmarks/*/README.md"))]
# Blocks that do not run here, by what they hold, and why.
NOT_RUN = {
    r"\b(sbatch|srun) ": "needs Slurm",
    r"--scheduler tcp": "a cluster of Dask is made by tests/cli/test_cluster.py",
    r"\bmpiexec ": "needs a GPAW that was built with MPI",
    r"\bpip install ": "installs from the network",
    r"--from wse2": "trains the network of a model that comes with gh-tools for minutes",
    r"quickstart\.sh": "installs from the network; its Makefile takes seven minutes",
    r"^python ": "measures for minutes",
}
# What makes a command small, and stands for calculators of extras; all else is run as it stands.
REDUCED = (
    (r"-j \d+", "-j 1"),
    (r"-n \d+", "-n 2"),
    (r"^gh-label .*", r"\g<0> --set kpts=[1,1,1] --set h=0.35"),
    (r"^gh-train", "gh-train -c tiny.toml"),
    (r"--budget \w+|--set epochs=\d+", ""),
    (r"--ensemble 4", "--ensemble 2"),
    (r"batch_size=4", "batch_size=2"),
    (r"0\.8,0\.1,0\.1", "0.5,0.25,0.25"),
    (r"--kpts 6 6 1", "--kpts 2 2 1"),
    (r"--unfold ", "--points 9 --unfold "),
    (r" --kpts 1 12 1", ""),
    (r"^gh-transport .*", r"\g<0> --kpts 1 2 1 --points 3"),
    (r"--kpts 12 12 1", "--kpts 2 2 1"),
    (r"--unfold (auto|4,4,1)", "--unfold 1,1,1"),
    (r"\$SLURM_ARRAY_TASK_ID/\d+", "TASK/2"),
    (r"Te=16", "C=4"),
    # A model of the interface would take a minute: the layer alone.
    (r"hfo2-wse2 (.*)--set molecules=\d+ --set density=\[7,7\]", r"wse2 \1--set orthogonal=false"),
    # A layer takes the place of the interface, and a model of layers that of its model.
    (r"(\w+\.structures\.zarr) -m hfo2-wse2", r"\1 -m interface.model.zarr"),
    (r"--anneal lammps:hfo2-wse2 --relax chgnet (--set anneal\S+ +)+", ""),
    (r"size=\[(9,6|3,2)\]", "size=[1,1]"),
    (r"W\+Se,oxide=Hf\+O\+Ni", "W,oxide=Se"),
    (r"--points 20 ", "--points 5 "),
    (r"--kpts 4 4 1", "--kpts 2 2 1"),
    (r"--set nickel=0 ", ""),
    (r"size=\[20,11\]", "size=[1,1]"),
    (r"--width 0.3 (.*) --set probes=16", r"--width 3 \1 --set probes=2 --kpts 1 1 1"),
    (r"size=\[6,6,6\]", "size=[2,2,2]"),
    (r"--anneal chgnet", "--anneal lammps:hfo2"),
    (r"--relax chgnet", "--relax lammps:sio2"),
    (r"mace:mpa0.model", "ase.calculators.lj:LennardJones"),
    (r"^gh-build (hfo2|sio2) .*", r"\g<0> --set molecules=4"),
    (r"anneal.steps=\[\d+\]", "anneal.steps=[1]"),
    # Nothing here writes files of SIESTA; tests/formats reads some.
    (r"^gh-import siesta .*", ""),
    (r"^gh-build .*--anneal .*", r"\g<0> --set anneal.steps=[1] --set anneal.max_steps=1"),
)
TINY = tiny_configuration(epochs=1, last_layers=2) + "[data]\nbucket_count = 1\n"
CELL = "gh-build wse2 -n 1 --set size=[1,1] --set orthogonal=false --set se_vacancies=0"
# What is there before one follows a page, besides the stores that are copied.
BEFORE = {
    "clusters": [f"{CELL} -o train.structures.zarr", f"{CELL} -o device.structures.zarr"],
    "evaluation": [
        "gh-fit-scaleshift train.hamiltonians.zarr --fractions 0.5,0.25,0.25 --no-onsite-fit -o train.scaleshift.zarr"
    ],
    "labels": ["gh-build bn.cif --set pbc=[true,true,false] -o train.structures.zarr"],
    "large-structures": [f"{CELL} -o device.structures.zarr"],
    "other-codes": ["gh-build silicon.cif -o large.structures.zarr"],
    # A device and its leads of one layer: as many cells as S couples at both ends.
    "spectra": [
        line
        for name, n in (("junction", 7), ("lead", 1), ("other", 1))
        for line in (
            f"gh-build wse2.cif --set size=[{n},1,1] --set pbc=[true,true,false] -o {name}.structures.zarr",
            f"gh-infer {name}.structures.zarr -m wse2.model.zarr -o {name}.predicted.zarr",
        )
    ],
    "training": [
        f"{CELL} -o large.structures.zarr",
        "gh-fit-scaleshift wse2.hamiltonians.zarr --fractions 0.5,0.25,0.25 --seed 1 --no-onsite-fit -o new.scaleshift.zarr",
    ],
}


def blocks(page):
    """Return the shell blocks of a page that run here, continued lines joined."""
    found = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)
    return [
        block.replace("\\\n", " ")
        for block in found
        if not any(re.search(what, block, re.M) for what in NOT_RUN)
    ]


def lines(page):
    """Return the commands of a page, small. A script of a job array stands for its tasks."""
    found = []
    for block in blocks(page):
        commands = []
        for line in block.splitlines():
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            for whole, part in REDUCED:
                line = re.sub(whole, part, line)
            commands += [line] if line else []
        tasks = "12" if "#SBATCH --array" in block else "0"
        found += [line.replace("TASK", task) for task in tasks for line in commands]
    return found


@pytest.fixture(scope="module")
def one_label(tiny_labels, tmp_path_factory):
    """The first of the tiny labels: files of matrices are large."""
    whole = HamiltonianReader(tiny_labels)
    path = tmp_path_factory.mktemp("one") / "one.hamiltonians.zarr"
    writer = HamiltonianWriter(path, whole.structures.select([0]), Provenance("gh-label"))
    writer.write(0, whole.read(0))
    return writer.publish(whole.basis)


@pytest.fixture(scope="module")
def failed(tiny_labels, one_label, random_bond_model, tmp_path_factory):
    """What failed of all pages, by page."""
    root = tmp_path_factory.mktemp("pages")
    stores = {
        "clusters": {"many.hamiltonians": tiny_labels, "wse2.model": random_bond_model},
        "evaluation": {"train.hamiltonians": tiny_labels, "train.model": random_bond_model},
        "interface": {"interface.model": random_bond_model},
        "large-structures": {"wse2.model": random_bond_model, "cells.model": random_bond_model},
        "other-codes": {"wse2.predicted": one_label},
        "quickstart": {"quickstart/train.model": random_bond_model},
        "shipped-models": {"my.hamiltonians": tiny_labels, "my.model": random_bond_model},
        "spectra": {
            "wse2.model": random_bond_model,
            "wse2.hamiltonians": tiny_labels,
            **{f"{name}.predicted": tiny_labels for name in ("wse2", "device", "alloy", "defects")},
        },
        "training": {"wse2.hamiltonians": tiny_labels},
    }
    for name in PAGES:
        (root / name).mkdir()
        (root / name / "tiny.toml").write_text(TINY)
        for to, store in stores.get(name, {}).items():
            shutil.copytree(store, root / name / f"{to}.zarr")
    (root / "other-codes/runs").mkdir()
    for seed in range(6):
        label = gaussian_label(silicon(seed=seed))
        table.get_format("deeph").write(root / f"other-codes/runs/{seed}", label)
    write(root / "other-codes/silicon.cif", silicon(seed=9))
    table.get_format("deeptb").write(root / "other-codes/frames", sample())
    write(root / "structures/sic.cif", bulk("SiC", "zincblende", 4.35, cubic=True))
    write(root / "spectra/wse2.cif", mx2("WSe2", a=3.32, vacuum=7))
    mx2("WSe2", a=3.32, vacuum=7).write(root / "shipped-models/my.cif")
    text = (SHARE / "docs/how-to/shipped-models.md").read_text()
    words = re.search(r"^```toml\n(.*?)^```", text, re.M | re.S)[1]
    (root / "shipped-models/mine.toml").write_text(words)
    layer = graphene("BN", 2.5, vacuum=7.5)
    layer.pbc = True  # as files of crystals have it
    write(root / "structures/bn.cif", layer)
    layer.center(3, axis=2)  # that it is labelled with several settings takes moments
    write(root / "labels/bn.cif", layer)
    work = {
        name: [(str(root / name), line) for line in [*BEFORE.get(name, []), *lines(page)]]
        for name, page in PAGES.items()
    }
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("in_one_process.py"), ROOT / "pyproject.toml"],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("page", [name for name, page in PAGES.items() if blocks(page)])
def test_commands_run(page, failed):
    assert failed.get(page) is None, "\n".join(map(str, failed[page]))


@pytest.mark.parametrize("page", PLANNED, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_makefiles_plan_what_the_page_asks_for(page, shell, tmp_path):
    """Their work takes minutes to days: make says what it would run."""
    (tmp_path / "share").symlink_to(SHARE.parent)
    (tmp_path / "model.zarr").mkdir()
    (tmp_path / "model.zarr/zarr.json").touch()
    script = "\n".join(blocks(page)).replace(".../", f"{SHARE}/")
    script = re.sub(r"(^|&& )make ", r"\1make -n ", script, flags=re.M)
    variables = {
        "SHARE": str(SHARE),
        "SLURM_ARRAY_TASK_ID": "1",
        "MODEL": str(tmp_path / "model.zarr"),
        "MACE": "x",
    }
    done = shell(f"set -e\n{script}", tmp_path, **variables)
    assert done.returncode == 0 and "gh-" in done.stdout, done.stderr


def test_what_is_left_out_is_there():
    text = "".join(page.read_text() for page in [*PAGES.values(), *PLANNED])
    assert [what for what in NOT_RUN if not re.search(what, text, re.M)] == []
