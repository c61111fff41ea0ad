"""H of spinors: read from each program's files, stored, and given to the spectra; no model is trained of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from gh_tools.errors import DataError
from gh_tools.formats import table
from gh_tools.formats.assemble import assemble
from gh_tools.formats.format import read_source
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import OnsiteBlocks
from gh_tools.store.hamiltonians import HamiltonianReader
from tests.cli.conftest import call  # noqa: F401, a fixture
from tests.formats import writers
from tests.formats.sample import sample
from tests.formats.test_formats import K, assert_same

pytest.importorskip("h5py")
DEGREES = {6: (1, 0), 42: (0, 2)}


def spinor_sample():
    """H without any symmetry: neither of time reversal nor of the spins."""
    random = np.random.default_rng(5)
    ham = sample(degrees=DEGREES, overlap=0.03)

    def spinor(blocks):
        s = blocks.overlap
        zero = np.zeros_like(s)
        scale = np.abs(blocks.hamiltonian).max(axis=(-2, -1), keepdims=True)
        h = np.block([[blocks.hamiltonian, zero], [zero, blocks.hamiltonian]]).astype(complex)
        h += 0.3 * scale * (random.normal(size=h.shape) + 1j * random.normal(size=h.shape))
        if isinstance(blocks, OnsiteBlocks):
            h = 0.5 * (h + h.swapaxes(-1, -2).conj())
        return replace(blocks, hamiltonian=h, overlap=np.block([[s, zero], [zero, s]]))

    return replace(
        ham,
        onsite={key: spinor(blocks) for key, blocks in ham.onsite.items()},
        pairs={key: spinor(blocks) for key, blocks in ham.pairs.items()},
        spinor=True,
    )


def eigenvalues(ham, k=K):
    return scipy.linalg.eigh(
        bloch_matrix(ham, k), bloch_matrix(ham, k, "overlap"), eigvals_only=True
    )


def read(name, place, **options):
    form = table.get_format(name)
    return assemble(read_source(form, form.find(place)[0]), **options)[0]


def test_deeph_comes_back(tmp_path):
    ham = spinor_sample()
    table.get_format("deeph").write(tmp_path / "x", ham)
    assert json.loads((tmp_path / "x" / "info.json").read_text())["spinful"] is True
    found = read("deeph", tmp_path / "x")
    assert found.spinor and np.abs(eigenvalues(found) - eigenvalues(ham)).max() < 1e-9
    table.get_format("deeph").write(tmp_path / "y", found)
    assert_same(found, read("deeph", tmp_path / "y"), 0)
    mean = read("deeph", tmp_path / "x", spin_independent=True)
    assert not mean.spinor and mean.n_spins == 1 and 2 * mean.n_orbitals == found.n_orbitals


def test_openmx(tmp_path):
    ham = spinor_sample()
    made = writers.dense(ham, "openmx")
    up, ud, _, down = made.spins
    part = 0.3 * ud.imag  # OpenMX has Im ↑↓ in two parts
    spins = [up.real, down.real, ud.real, ud.imag - part, up.imag, down.imag, part]
    (tmp_path / "x").mkdir()
    writers.write_openmx(tmp_path / "x" / "a.scfout", made._replace(spins=spins))
    found = read("openmx", tmp_path / "x")
    assert found.spinor and np.abs(eigenvalues(found) - eigenvalues(ham)).max() < 1e-9


def test_siesta_has_the_eigenvalues_of_sisl(tmp_path):
    sisl = pytest.importorskip("sisl")
    base = writers.as_sisl(writers.dense(sample(degrees=DEGREES, overlap=0.03), "siesta"))
    h = sisl.Hamiltonian(base.geometry, spin="spin-orbit", orthogonal=False)
    h = h.fromsp(
        base.geometry,
        [0.01 * (n + 1) * base.tocsr(0) for n in range(8)],
        S=base.tocsr(1),
        spin="so",
    )
    h = 0.5 * (h + h.transpose(conjugate=True, spin=True))
    writers.write_hsx(tmp_path / "x.HSX", h, 0.5, 20.0)
    again = sisl.get_sile(tmp_path / "x.HSX").read_hamiltonian()
    found = read("siesta", tmp_path)
    assert found.spinor
    assert np.abs(eigenvalues(found) - again.eigh(K) - 0.5).max() < 1e-6


def test_wannier90(tmp_path):
    """Two spinors on a chain, with a complex hopping that the spins feel differently."""
    hop = np.array([[-1.0 + 0.2j, 0.3 - 0.1j], [-0.3 + 0.4j, -0.8 - 0.2j]])
    home = np.array([[0.2, 0.1j], [-0.1j, -0.2]])
    lines = ["chain", "2", "3", "1 1 1"]
    for cell, matrix in ((-1, hop.conj().T), (0, home), (1, hop)):
        lines += [
            f"{cell} 0 0 {m + 1} {n + 1} {matrix[m, n].real} {matrix[m, n].imag}"
            for n in range(2)
            for m in range(2)
        ]
    (tmp_path / "c_hr.dat").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.win").write_text(
        "spinors = .true.\nbegin unit_cell_cart\n3 0 0\n0 20 0\n0 0 20\nend unit_cell_cart\n"
        "begin atoms_frac\nC 0 0 0\nend atoms_frac\nbegin projections\nC:s\nend projections\n"
    )
    found = read("wannier90", tmp_path)
    k = np.array([0.2, 0, 0])
    wanted = home + np.exp(0.4j * np.pi) * hop + np.exp(-0.4j * np.pi) * hop.conj().T
    assert found.spinor and found.degeneracy == 1
    assert np.abs(eigenvalues(found, k) - np.linalg.eigvalsh(wanted)).max() < 1e-12
    with pytest.raises(DataError, match="no part is independent of spin"):
        read("wannier90", tmp_path, spin_independent=True)


def test_commands(call, tmp_path):  # noqa: F811
    ham = spinor_sample()
    ham.scalars["n_electrons"] = 20.0
    table.get_format("deeph").write(tmp_path / "run", ham)
    table.get_format("deeph").write(tmp_path / "paired", sample(degrees=DEGREES))
    line = "gh-import run --valence C=4,Mo=6 -o x.hamiltonians.zarr -q"
    done = call(line, tmp_path)
    assert done.returncode == 0, done.stderr
    reader = HamiltonianReader(tmp_path / "x.hamiltonians.zarr", spinors=True)
    assert_same(read("deeph", tmp_path / "run"), reader.read(0), 0)
    assert call("gh-info --deep x.hamiltonians.zarr", tmp_path).returncode == 0
    done = call("gh-dos x.hamiltonians.zarr --kpts 2 1 1 --json -o x.spectra.zarr", tmp_path)
    assert done.returncode == 0, done.stderr
    done = call("gh-export x.spectra.zarr --to json -o x.json -q", tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "x.json").read_text())["structures"][0]
    wanted = [eigenvalues(ham, np.array(k)) for k in told["kpoints"]]
    found = np.array(told["eigenvalues (eV) by spin, k-point, band"])[0]
    assert np.abs(found - np.array(wanted)).max() < 1e-8
    # One electron in each state: 20 states of each k-point are full.
    ordered = np.sort(np.concatenate(wanted))
    count = 20 * len(wanted)
    assert ordered[count - 1] - 0.2 < told["fermi_level (eV)"] < ordered[count] + 0.2
    done = call("gh-bands x.hamiltonians.zarr --path GX --points 5 -o b.png --kpts 2 1 1", tmp_path)
    assert done.returncode == 0, done.stderr
    for command in (
        "gh-fit-scaleshift x.hamiltonians.zarr",
        "gh-export x.hamiltonians.zarr --to sisl -o w.nc",
    ):
        done = call(command, tmp_path)
        assert done.returncode == 65 and "--spin-independent" in done.stderr, done.stderr
    done = call("gh-dos x.hamiltonians.zarr --soc -o y.spectra.zarr", tmp_path)
    assert done.returncode == 65 and "already" in done.stderr
    assert call("gh-export x.hamiltonians.zarr --to deeph -o back -q", tmp_path).returncode == 0
    assert_same(reader.read(0), read("deeph", tmp_path / "back"), 0)
    done = call("gh-import run paired --valence C=4,Mo=6 -o z.hamiltonians.zarr -q", tmp_path)
    assert done.returncode == 65 and "spinors" in done.stderr and "of their own" in done.stderr
