"""Small stores of every kind, made without DFT by what the commands themselves call."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np

from gh_tools.orbitals.blocks import OnsiteBlocks, PairBlocks
from tests.orbitals.tables import basis, random_hamiltonian

TABLE = basis(Si=[(0, 2.4), (1, 2.4)], O=[(0, 1.9)])
NETWORK = {
    "model": "bond-frame",
    "n_radial": 3,
    "product_features": 2,
    "atom_features": 2,
    "onsite_features": 2,
    "bond_tensors": 1,
    "bond_pseudotensors": 1,
    "bond_features": 2,
    "hidden": 3,
}


def structures(n: int = 4):
    """Cells of three atoms that differ a little, with a column."""
    from gh_tools.store.structures import Column, Structures

    rng = np.random.default_rng(0)
    places = np.array([[0.1, 0.2, 0.1], [1.6, 0.3, 0.2], [0.4, 1.9, 1.4]])
    atoms = [
        ase.Atoms(
            "SiO2",
            places + rng.normal(0, 0.05, (3, 3)),
            cell=np.diag([4.0, 4.2, 9.0]) + rng.normal(0, 0.05, (3, 3)),
            pbc=(True, True, False),
        )
        for _ in range(n)
    ]
    strain = Column(np.linspace(0, 1, n), "1", "of the cell")
    return Structures(atoms, [f"s-{k}" for k in range(n)], {"strain": strain})


def write_small_stores(folder: Path) -> dict[str, Path]:
    """Write a store of each kind, each made from the one before; return their paths by kind."""
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import write_structures

    paths = {"structures": folder / "x.structures.zarr"}
    write_structures(paths["structures"], structures(), Provenance("gh-build"))
    made = Provenance("gh-label", inputs=[open_store(paths["structures"])])
    paths["hamiltonians"] = _write_labels(folder / "x.hamiltonians.zarr", made)
    paths["overlap"] = _write_labels(folder / "x.overlap.zarr", made, "overlap")
    paths["scaleshift"] = _write_scaleshift(folder / "x.scaleshift.zarr", paths["hamiltonians"])
    paths["model"] = _write_model(folder / "x.model.zarr", paths["scaleshift"])
    paths["spectra"] = _write_spectra(folder / "x.spectra.zarr", paths["hamiltonians"])
    paths["posterior"] = _write_posterior(folder / "x.posterior.zarr", paths["spectra"])
    return paths


def hamiltonian(atoms: ase.Atoms, seed: int):
    """A random Hamiltonian with uncertainties, and with eigenvalues of a run at two k-points."""
    from gh_tools.orbitals.blocks import Bands

    made = random_hamiltonian(atoms, TABLE, seed)
    eigenvalues = np.sort(np.random.default_rng(seed).normal(size=(1, 2, 6)), axis=-1)
    for _, blocks in made.groups():  # as an ensemble of two predicts
        change = 1e-3 * np.random.default_rng(seed).normal(size=blocks.hamiltonian.shape)
        if hasattr(blocks, "atom"):
            change += change.swapaxes(-1, -2)
        blocks.members = np.stack([change, -change])[:, None]
        blocks.uncertainty = 2**0.5 * np.abs(change)
    made.bands = Bands(np.array([[0, 0, 0], [0.5, 0, 0]]), np.array([0.5, 0.5]), eigenvalues)
    return made


def write_parts(path: Path, provenance, kind: str = "hamiltonians"):
    """Write all parts of a store in the making; return its writer."""
    from dataclasses import replace

    from gh_tools.store.hamiltonian_writer import HamiltonianWriter

    made = structures()
    writer = HamiltonianWriter(path, made, provenance)
    for index, atoms in enumerate(made.atoms):
        whole = hamiltonian(atoms, index)
        if kind == "overlap":
            whole = replace(
                whole,
                onsite={z: OnsiteBlocks(b.atom, None, b.overlap) for z, b in whole.onsite.items()},
                pairs={
                    p: PairBlocks(b.i, b.j, b.cell_offset, None, b.overlap)
                    for p, b in whole.pairs.items()
                },
                bands=None,
            )
        writer.write(index, whole)
    return writer


def _write_labels(path: Path, provenance, kind: str = "hamiltonians") -> Path:
    return write_parts(path, provenance, kind).publish(TABLE, {"spins": 1}, kind)


def _write_scaleshift(path: Path, labels: Path) -> Path:
    from gh_tools.labels.labels import open_labels
    from gh_tools.labels.split import Split
    from gh_tools.scaleshift.fit import fit_store
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store

    opened = open_labels([open_store(labels, "hamiltonians")])
    fit_store(
        opened,
        Split(np.array([0, 1]), np.array([2]), np.array([3])),
        path,
        Provenance("gh-fit-scaleshift", inputs=opened.stores),
    )
    return path


def _write_model(path: Path, scaleshift: Path) -> Path:
    import jax

    from gh_tools.labels.split import Split
    from gh_tools.model.build import build_model
    from gh_tools.model.graph import build_graph
    from gh_tools.model.initial import draw_weights
    from gh_tools.orbitals.basis import Basis
    from gh_tools.orbitals.irreps import IrrepLayout
    from gh_tools.scaleshift.scaleshift import ScaleShift
    from gh_tools.store.partial import PartialStore
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store
    from gh_tools.trained_model.calibration import Calibration
    from gh_tools.trained_model.store import save_model
    from gh_tools.training.config import TrainConfig

    store = open_store(scaleshift, "scaleshift")
    table = Basis.from_arrays(store)
    config = TrainConfig.model_validate({"model": NETWORK})
    graph = build_graph(structures().atoms[0], table, config.model.cutoffs(table))
    weights = draw_weights(build_model(config.model, table), graph, 0)
    # As if last layers had been drawn about the network, and calibrated.
    readouts = [name for name in weights["params"] if name.endswith("readout")]
    last_layers = {
        name: jax.tree.map(lambda leaf: np.stack([leaf, leaf + 0.1]), weights["params"][name])
        for name in readouts
    }
    layout = IrrepLayout(table)
    calibration = Calibration(
        {z: np.full(irreps.size, 2.0) for z, irreps in layout.onsite.items()},
        {key: np.full((3, irreps.size), 3.0) for key, irreps in layout.pair.items()},
        {"shift": 2.0, "eigenvalues": 1.5},
    )
    return save_model(
        PartialStore(path, Provenance("gh-train", inputs=[store])),
        basis=table,
        scaleshift=ScaleShift.from_arrays(store, table, frame=config.model.frame),
        split=Split.from_arrays(store),
        structures=structures(),
        params={"hamiltonian": weights},
        last_layers=last_layers,
        calibration=calibration,
        history={name: np.arange(4.0) for name in ("step", "hamiltonian", "learning_rate")},
        attributes={
            "config": config.model_dump(mode="json"),
            "spins": 1,
            "cutoffs": {"8-8": 3.8, "8-14": 4.3, "14-14": 4.8},
        },
    )


def _write_spectra(path: Path, labels: Path) -> Path:
    from gh_tools.spectra.config import DosConfig
    from gh_tools.spectra.run import make_spectra
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store

    made = Provenance("gh-dos", inputs=[open_store(labels)])
    config = DosConfig(kpts=(1, 1, 1), points=20, along="c", states=(-2.0, 2.0))
    found, failures = make_spectra(labels, path, config, made)
    assert failures == []
    return found


def _write_posterior(path: Path, spectra: Path) -> Path:
    import xarray

    from gh_tools.bayes.posterior import write_posterior
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import open_store

    draws = np.random.default_rng(0).normal(size=(2, 10))
    group = xarray.Dataset({"strain": (("chain", "draw"), draws)})
    return write_posterior(
        path,
        {"posterior": group, "sample_stats": group},
        formula="carriers ~ strain",
        estimates=[],
        probability=0.94,
        priors={},
        faults=[],
        provenance=Provenance("gh-bayes", inputs=[open_store(spectra)]),
    )
