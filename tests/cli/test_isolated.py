"""Atoms without neighbours within any cutoff, from labels to densities of states, by both networks."""

import json

import numpy as np
import pytest
from ase import Atoms

from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_structures
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, write_structures
from tests.conftest import BOND_FRAME, GEARS_H


@pytest.fixture(scope="module")
def helium(tmp_path_factory):
    """A folder with labels of helium: an atom, and two of them 6 and 7 Å apart."""
    folder = tmp_path_factory.mktemp("helium")
    images = [Atoms("He"), *(Atoms("He2", [[0, 0, 0], [0, 0, z]]) for z in (7.0, 6.0))]
    structures = Structures(images, ["one", "far", "apart"])
    source = write_structures(folder / "he.structures.zarr", structures, Provenance("gh-build"))
    label_structures(
        folder / "he.hamiltonians.zarr",
        structures,
        LabelConfig(h=0.35),
        Provenance("gh-label", inputs=[open_store(source)]),
    )
    return folder


def settings(table, prefix="model."):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"--set {prefix}{key}={json.dumps(value, separators=(',', ':'))}"


@pytest.mark.parametrize("network", [BOND_FRAME, GEARS_H], ids=lambda network: network["model"])
def test_the_whole_chain(call, helium, network):
    (helium / "split.json").write_text(
        '{"train": ["one"], "validation": ["far"], "test": ["apart"]}'
    )
    name = network["model"]

    def run(line):
        done = call(line, helium)
        assert done.returncode == 0, done.stderr
        assert "RuntimeWarning" not in done.stderr
        return done.stdout

    run(f"gh-fit-scaleshift he.hamiltonians.zarr --split split.json -o {name}.scaleshift.zarr")
    options = " ".join(settings(network)).replace('"', "")
    run(f"gh-train {name}.scaleshift.zarr {options} --set epochs=1 -o {name}.model.zarr")
    run(f"gh-infer -m {name}.model.zarr he.structures.zarr -o {name}.predicted.zarr")
    run(f"gh-dos {name}.predicted.zarr --points 100 -o {name}.spectra.zarr")
    errors = json.loads(run(f"gh-eval {name}.predicted.zarr he.hamiltonians.zarr --json"))
    # The mean of an element's on-site blocks, which the scale-shift is, is the block of the atom alone.
    assert errors["mean"]["hamiltonian"]["onsite"] < 50
    assert errors["mean"]["hamiltonian"]["pairs"] is None
    # What an atom gets does not depend on one that is farther away than any cutoff.
    reader = HamiltonianReader(helium / f"{name}.predicted.zarr")
    blocks = np.concatenate([reader.read(k).onsite[2].hamiltonian for k in range(3)])
    assert len(blocks) == 5
    np.testing.assert_array_equal(blocks, blocks[:1].repeat(5, axis=0))
    # Two electrons an atom, and no state between the eigenvalues of its shells.
    spectra = open_store(helium / f"{name}.spectra.zarr")
    assert spectra["scalar/n_electrons"].tolist() == [2, 4, 4]
    gaps = spectra["scalar/band_gap"]
    np.testing.assert_allclose(gaps, gaps[0], atol=1e-4)
