"""Topology by libraries that read what is exported: Chern numbers by pythtb, Z2 by Z2Pack, velocities from positions."""

import re
from pathlib import Path

import ase
import numpy as np
import pytest

import gh_tools as gh
from gh_tools.formats import table
from gh_tools.formats.lowdin import orthogonal_at, orthogonalised
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped
from gh_tools.spectra.optics.velocity import Velocity
from gh_tools.store.hamiltonians import HamiltonianReader

PAGE = Path(__file__).parents[2] / "share/gh_tools/docs/how-to/other-codes.md"
SIDE = 2.46
Z = np.diag([1.0, -1.0])
X, Y = np.array([[0, 1.0], [1, 0]]), np.array([[0, -1j], [1j, 0]])


def honeycomb(mass, second, onsite=0.0, rashba=0.0, overlap=0.1):
    """Return spinors on a honeycomb with hopping 1 eV and S.

    Args:
        mass: energy of one sublattice, less on the other, eV.
        second: hopping to second neighbours, iν times this matrix of the spin, eV.
        onsite: matrix of the spin, eV.
        rashba: hopping of neighbours that flips the spin, eV.
        overlap: of neighbours.
    """
    atoms = ase.Atoms(
        "BN",
        scaled_positions=[[0, 0, 0.5], [1 / 3, 1 / 3, 0.5]],
        cell=[[SIDE, 0, 0], [SIDE / 2, SIDE * 0.75**0.5, 0], [0, 0, 12]],
        pbc=[True, True, False],
    )
    atoms = wrapped(atoms)
    basis = Basis({z: ElementBasis(z, (Shell(0, 3.0),), 1.0, basis_name="s") for z in (5, 7)})
    found = stored_pairs(atoms, {(5, 5): 2.6, (7, 7): 2.6, (5, 7): 1.6})
    unit = np.eye(2)
    blocks = {}
    for pair, (i, j, cell_offset, vector) in found.items():
        if pair == (5, 7):
            direction = vector / np.linalg.norm(vector, axis=1)[:, None]
            h = -unit + 1j * rashba * (
                direction[:, 1, None, None] * X - direction[:, 0, None, None] * Y
            )
            s = np.full((len(i), 2, 2), overlap * unit)
        else:
            # ν alternates among the six second neighbours, and is opposite on the other sublattice.
            angle = np.arctan2(vector[:, 1], vector[:, 0])
            sign = np.sign(np.cos(3 * angle)) * (1 if pair == (5, 5) else -1)
            h = 1j * sign[:, None, None] * second
            s = np.zeros((len(i), 2, 2))
        blocks[pair] = PairBlocks(i, j, cell_offset, h.astype(complex), s)
    sites = {
        z: OnsiteBlocks(
            np.array([n]), (sign * mass * unit + onsite)[None].astype(complex), unit[None]
        )
        for n, (z, sign) in enumerate(((5, 1), (7, -1)))
    }
    return Hamiltonian(atoms, basis, sites, blocks, {"n_electrons": 2.0}, spinor=True)


def run_snippet(library, **smaller):
    """Run what the page says to do with a library; return the names that it leaves."""
    [code] = re.findall(
        rf"^```python\n(import (?:numpy as np\nimport )?{library}\n.*?)^```",
        PAGE.read_text(),
        re.M | re.S,
    )
    for whole, part in smaller.items():
        assert whole in code
        code = code.replace(whole, part)
    names = {}
    exec(code, names)
    return names


@pytest.mark.parametrize(("mass", "expected"), [(0.1, 1), (1.2, 0)])
def test_haldanes_model_by_pythtb(tmp_path, monkeypatch, mass, expected):
    """One spin is Haldane's model with t2 = 0.1 eV at 90°, nontrivial below a mass of 3√3 t2; the other lies 20 eV higher."""
    pythtb = pytest.importorskip("pythtb")
    model = honeycomb(mass, 0.1 * np.diag([1.0, 0]), np.diag([0.0, 20.0]), overlap=0.05)
    table.get_format("wannier90").write(tmp_path / "topology", model)
    read = pythtb.w90(str(tmp_path / "topology"), "wannier90").model(
        min_hopping_norm=1e-6, max_distance=None
    )
    k = np.array([0.13, 0.27, 0.0])
    assert np.abs(read.solve_one(k) - np.linalg.eigvalsh(orthogonal_at(model, k))).max() < 1e-4
    monkeypatch.chdir(tmp_path)
    chern = run_snippet("pythtb", **{"range(10)": "[0]", "31": "15"})["chern"]
    assert np.abs(np.abs(chern) - expected).max() < 1e-6


@pytest.mark.parametrize(("mass", "expected"), [(0.05, 1), (0.6, 0)])
def test_kane_and_meles_model_by_z2pack(mass, expected):
    z2pack = pytest.importorskip("z2pack")
    model = honeycomb(mass, 0.06 * Z, rashba=0.05)
    system = z2pack.hm.System(
        lambda k: orthogonal_at(model, np.array([*k, 0.0])), dim=2, bands=2, convention=2
    )
    lines = z2pack.surface.run(
        system=system, surface=lambda s, t: [s / 2, t], num_lines=11, min_neighbour_dist=0.01
    )
    assert z2pack.invariant.z2(lines) == expected


def test_a_layer_that_is_topological():
    """Labels by GPAW with coupling of the (111) bilayer of Bi: S. Murakami, Phys. Rev. Lett. 97, 236805 (2006)."""
    z2pack = pytest.importorskip("z2pack")
    layer = ase.Atoms(
        "Bi2",
        scaled_positions=[[1 / 3, 2 / 3, 0.44], [2 / 3, 1 / 3, 0.56]],
        cell=[4.33, 4.33, 14.5, 90, 90, 120],
        pbc=[True, True, False],
    )
    spinors = gh.label(layer, kpts=(6, 6, 1), h=0.25).with_spin_orbit()
    system = z2pack.hm.System(lambda k: spinors.orthogonal([*k, 0]), dim=2, bands=10, convention=2)
    lines = z2pack.surface.run(
        system=system, surface=lambda s, t: [s / 2, t], num_lines=11, min_neighbour_dist=0.01
    )
    assert z2pack.invariant.z2(lines) == 1


def test_a_layer_that_is_not_topological_by_the_page(tiny_labels, tmp_path, monkeypatch):
    pytest.importorskip("z2pack")
    (tmp_path / "wse2.predicted.zarr").symlink_to(tiny_labels)
    monkeypatch.chdir(tmp_path)
    assert run_snippet("z2pack")["z2"] == 0


def test_velocities_of_orthogonal_functions_are_those_of_the_basis(tiny_labels):
    """Of a real label: velocities from H' and r of the orthonormal functions."""
    from gh_tools.dft.spin_orbit import with_spin_orbit

    hamiltonian = with_spin_orbit(HamiltonianReader(tiny_labels).read(0))
    found = orthogonalised(hamiltonian)
    assert found.exact
    k = np.array([0.21, 0.34, 0.0])
    phase = np.exp(2j * np.pi * (found.cells @ k))
    h = np.tensordot(phase, found.h, axes=1)
    energies, vectors = np.linalg.eigh(h)
    wanted = Velocity(hamiltonian).at(k)
    assert np.abs(energies - wanted.energies).max() < 1e-5
    apart = energies[:, None] - energies
    for axis in range(3):
        distance = found.cells @ hamiltonian.atoms.cell.complete().array[:, axis]
        slope = np.tensordot(1j * distance * phase, found.h, axes=1)
        r = np.tensordot(phase, found.r[axis], axes=1)
        assert np.abs(r - r.conj().T).max() < 1e-6
        velocity = vectors.conj().T @ (slope @ vectors) + 1j * apart * (
            vectors.conj().T @ r @ vectors
        )
        # Bands are far apart at this k-point, so that states agree but for phases.
        assert np.abs(np.abs(velocity) - np.abs(wanted.velocity[axis])).max() < 1e-3
