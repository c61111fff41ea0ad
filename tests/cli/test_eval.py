"""gh-eval through a shell, against a comparison done directly."""

import json

import numpy as np
import pytest
import scipy.linalg

from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.store.hamiltonians import HamiltonianReader, HamiltonianWriter
from gh_tools.store.io import open_store
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures


@pytest.fixture
def shifted(gh, tiny_labels):
    """The labels in another order, H_ij changed by noise of known size."""
    rng = np.random.default_rng(0)
    reader = HamiltonianReader(tiny_labels)
    structures = reader.structures.select([2, 0])
    path = gh.folder / "x.predicted.zarr"
    writer = HamiltonianWriter(path, structures, Provenance("test", inputs=[reader.store]))
    for row, index in enumerate((2, 0)):
        ham = reader.read(index)
        for blocks in ham.onsite.values():
            noise = rng.choice([-0.01, 0.01], blocks.hamiltonian.shape)
            blocks.hamiltonian = (
                blocks.hamiltonian + np.triu(noise) + np.triu(noise, 1).swapaxes(1, 2)
            )
        for blocks in ham.pairs.values():
            blocks.hamiltonian = blocks.hamiltonian + rng.choice(
                [-0.001, 0.001], blocks.hamiltonian.shape
            )
        ham.bands = None
        writer.write(row, ham)
    return writer.publish(reader.basis, {"predicted": True})


def test_numbers_are_those_of_a_direct_comparison(gh, shifted, tiny_labels):
    done = gh(f"gh-eval {shifted} {tiny_labels} --json")
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert [record["name"] for record in errors["structures"]] == HamiltonianReader(shifted).names
    # Float64 noise of ±10 and ±1 meV on energies of tens of eV
    assert errors["mean"]["hamiltonian"]["onsite"] == pytest.approx(10, rel=1e-9)
    assert errors["mean"]["hamiltonian"]["pairs"] == pytest.approx(1, rel=1e-9)
    assert errors["by_species_pair"]["Se-W"] == pytest.approx(1, rel=1e-9)
    assert errors["by_species_pair"]["W"] == pytest.approx(10, rel=1e-9)

    mine, label = HamiltonianReader(shifted).read(0), HamiltonianReader(tiny_labels).read(2)
    levels = [
        [
            scipy.linalg.eigvalsh(bloch_matrix(ham, k), bloch_matrix(ham, k, "overlap"))
            for k in label.bands.kpoint
        ]
        for ham in (mine, label)
    ]
    off = 1e3 * abs(np.subtract(*levels)).mean(axis=1)
    expected = np.average(off, weights=label.bands.weight)
    found = errors["structures"][0]["eigenvalues"]
    assert found["all"] == pytest.approx(expected, rel=1e-6)
    near = abs(np.array(levels[1]) - label.scalars["fermi_level"]) <= 5
    assert found["window"] == pytest.approx(1e3 * abs(np.subtract(*levels))[near].mean(), rel=0.2)
    assert "Fermi level" in done.stderr


def test_pipe_and_plain_result(gh, shifted, tiny_labels):
    done = gh(f"printf '%s\\n' {shifted} {tiny_labels} | gh-eval -q")
    assert (done.returncode, done.stderr) == (0, "")
    assert 1 < float(done.stdout) < 2


def test_errors_are_one_sentence(gh, shifted, tiny_labels, tiny_scaleshift):
    reader = HamiltonianReader(tiny_labels)
    atoms = reader.structures.atoms[0]
    atoms.positions[0] += 0.1
    moved = HamiltonianWriter(
        gh.folder / "moved.zarr", Structures([atoms], [reader.names[0]]), Provenance("test")
    )
    ham = reader.read(0)
    ham.atoms = atoms
    moved.write(0, ham)
    moved.publish(reader.basis)
    cases = [
        (f"gh-eval {shifted}", 2, "expected two stores"),
        (f"gh-eval {shifted} none.zarr", 66, "no such store"),
        (f"gh-eval {shifted} {tiny_scaleshift}", 65, "kind hamiltonians"),
        (f"gh-eval {tiny_labels} {shifted}", 65, "no structure named"),
        (f"gh-eval moved.zarr {tiny_labels}", 65, "positions differ"),
    ]
    for line, code, message in cases:
        done = gh(line)
        assert done.returncode == code, (line, done.stderr)
        assert message in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""
    assert open_store(shifted)
