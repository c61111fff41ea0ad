"""Real labels that many tests share."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# Several processes share the cores; threads within each would only get in their way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from filelock import FileLock

gc.disable()  # until all is imported

# As the commands have it: else GPUs multiply float32 matrices with 10 bits of mantissa.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# Programs of tests run for moments: they are compiled quickly rather than well, in processes of commands as well. Without
# the emitters of fusions, cold training commands take 12 instead of 20 s of a core.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false",
)

# Started in the background, or as a worker of xdist, Python ignores Ctrl-C and hands that down to the
# commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where GPAW sees pytest it switches its debugging on, which replaces np.empty and makes NumPy raise
# for all in the process, JAX included. Users run it without, and so do the tests.
_pytest = sys.modules.pop("pytest")
import gpaw  # noqa: E402, F401

sys.modules["pytest"] = _pytest

# Before the hook: what modules of ours are first to import would be compiled anew, as the hook does not keep it.
for library in (
    "e3x numba optax orbax.checkpoint pandas pydantic rich.progress scipy.cluster.hierarchy scipy.interpolate "
    "scipy.optimize scipy.sparse.linalg scipy.spatial scipy.stats zarr"
).split():
    importlib.import_module(library)

import pytest  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

import tests.checked  # noqa: E402, F401, the hook names it

# Shapes and types of arguments and results are checked while tests run, everywhere. What commands do in
# processes of their own is not; nor are the few names that are imported for type checkers alone, nor what travels to
# workers of a cluster by value, which a check that wraps it could not.
CHECKED = "orbitals workers.local workers.processes workers.task store labels structures dft overlap spectra formats bayes evaluation model scaleshift trained_model training inference api"
install_import_hook([f"gh_tools.{part}" for part in CHECKED.split()], "tests.checked.checked")

# As the commands have it, too: what is compiled is kept between processes and runs.
from gh_tools.trained_model.runtime import configure_jax  # noqa: E402

configure_jax("float32")


def pytest_collection_finish():
    """Leave what was imported alone: to pass over it takes up to a tenth of the time of tests."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)


# The smallest network of the paper's kind.
SMALL = {
    "model": "gears-h",
    "atom_centered": {"n_tensor_dense": 0, "radial_basis": {"n_radial": 4}},
    "bond_centered": {"n_radial": 4, "features": 4},
    "mlp": {"layers": [4]},
}


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """Have a store made, unless another process of this run of tests makes it or has; return its path."""
    with FileLock(f"{path}.lock"):
        if not path.exists():
            make(path)
    return path


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all processes of this run of tests have in common."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_labels(shared) -> Path:
    """Hamiltonians of four strained and rattled WSe2 cells of 3 atoms: real GPAW runs of seconds."""
    return once(shared / "tiny.hamiltonians.zarr", _tiny_labels)


def _tiny_labels(path: Path) -> None:
    from gh_tools.dft.config import LabelConfig
    from gh_tools.dft.label import label_structures
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import write_structures
    from gh_tools.structures import registry
    from gh_tools.structures.generate import generate

    recipe = registry.get_recipe("wse2")
    config = recipe.config(size=(1, 1), orthogonal=False, se_vacancies=0, rattle=0.04)
    source = path.with_name("tiny.structures.zarr")
    structures = generate(recipe, config, 4, seed=0)
    write_structures(source, structures, Provenance("gh-build"), overwrite=True)
    label = LabelConfig(setups={"W": "6"}, kpts=(3, 3, 1), h=0.3)
    _, failures = label_structures(
        path,
        structures,
        label,
        Provenance("gh-label", inputs=[open_store(source)]),
    )
    assert failures == []


@pytest.fixture(scope="session")
def tiny_scaleshift(tiny_labels) -> Path:
    """Scale-shift fitted to two of the tiny labels; one is for validation, one for tests."""
    path = tiny_labels.with_name("tiny.scaleshift.zarr")
    return once(path, lambda path: _tiny_scaleshift(tiny_labels, path))


def _tiny_scaleshift(tiny_labels: Path, path: Path) -> None:
    from gh_tools.labels.labels import open_labels
    from gh_tools.labels.split import Split
    from gh_tools.scaleshift.fit import fit_store
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store

    labels = open_labels([open_store(tiny_labels, "hamiltonians")])
    provenance = Provenance("gh-fit-scaleshift", inputs=labels.stores)
    fit_store(labels, Split(np.array([0, 1]), np.array([2]), np.array([3])), path, provenance)


@pytest.fixture(scope="session")
def small_stores(tmp_path_factory) -> dict[str, Path]:
    """A store of each kind, made without DFT, by kind."""
    from tests.store.small import write_small_stores

    return write_small_stores(tmp_path_factory.mktemp("small"))


GEARS_H = {
    "model": "gears-h",
    "atom_centered": {"n_tensor_dense": 0, "radial_basis": {"n_radial": 4, "cutoff": 5.0}},
    "bond_centered": {"n_radial": 4, "features": 4},
    "mlp": {"layers": [4]},
}
BOND_FRAME = {
    "model": "bond-frame",
    "cutoff": 5.0,
    "n_radial": 4,
    "product_features": 3,
    "atom_features": 4,
    "onsite_features": 4,
    "bond_tensors": 2,
    "bond_pseudotensors": 1,
    "bond_features": 3,
    "hidden": 4,
}


def tiny_configuration(epochs: int, last_layers: int = 0) -> str:
    """A training configuration of the network above, as TOML."""
    network = "".join(f"{key} = {value!r}\n" for key, value in BOND_FRAME.items())
    return f"epochs = {epochs}\nlast_layers = {last_layers}\n[model]\n{network}"


@pytest.fixture(scope="session")
def random_model(tiny_scaleshift) -> Path:
    """A model store with the weights that training would start from, for the tiny labels' basis."""
    path = tiny_scaleshift.with_name("tiny.model.zarr")
    return once(path, lambda path: _random_model(tiny_scaleshift, path, GEARS_H))


@pytest.fixture(scope="session")
def random_bond_model(tiny_scaleshift) -> Path:
    """The same, of the network that works in the frame of the bond."""
    path = tiny_scaleshift.with_name("bond.model.zarr")
    return once(path, lambda path: _random_model(tiny_scaleshift, path, BOND_FRAME))


def _random_model(tiny_scaleshift: Path, path: Path, network: dict, **attributes) -> Path:
    from gh_tools.labels.split import Split
    from gh_tools.model.build import build_model
    from gh_tools.model.graph import build_graph
    from gh_tools.model.initial import draw_weights
    from gh_tools.scaleshift.scaleshift import ScaleShift
    from gh_tools.store.hamiltonians import HamiltonianReader
    from gh_tools.store.partial import PartialStore
    from gh_tools.store.provenance import Provenance, find_inputs
    from gh_tools.store.read import open_store
    from gh_tools.trained_model.runtime import configure_jax
    from gh_tools.trained_model.store import save_model
    from gh_tools.training.config import TrainConfig

    store = open_store(tiny_scaleshift, "scaleshift")
    reader = HamiltonianReader(find_inputs(store, "hamiltonians")[0])
    config = TrainConfig.model_validate({"model": network})
    configure_jax(config.precision)
    graph = build_graph(
        reader.structures.atoms[0],
        reader.basis,
        config.model.cutoffs(reader.basis),
    )
    params = draw_weights(build_model(config.model, reader.basis), graph, 0)
    return save_model(
        PartialStore(path, Provenance("gh-train", inputs=[store])),
        basis=reader.basis,
        scaleshift=ScaleShift.from_arrays(store, reader.basis, frame=config.model.frame),
        split=Split.from_arrays(store),
        structures=reader.structures,
        params={"hamiltonian": params},
        history={},
        attributes={"config": config.model_dump(mode="json"), **attributes},
    )


@pytest.fixture(scope="session")
def make_config():
    """A function that makes a configuration with the smallest network."""

    from gh_tools.training.config import TrainConfig

    def make(**values) -> TrainConfig:
        defaults = {
            "model": BOND_FRAME,
            "data": {"bucket_count": 1},
            "optimizer": {"name": "adam", "learning_rate": 0.02},
            "schedule": {"name": "constant"},
            "metrics": {"interval": 1, "eigenvalue_interval": None},
            "last_layers": 0,  # compiling what draws and calibrates them takes longer than training
        }
        return TrainConfig.model_validate(defaults | values)

    return make


@pytest.fixture(scope="session")
def inputs(tiny_scaleshift):
    """The opened stores."""
    from gh_tools.training.inputs import open_inputs

    return open_inputs(tiny_scaleshift)
