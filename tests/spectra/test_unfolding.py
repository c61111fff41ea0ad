"""Unfolded bands: perfect supercells against their primitive cell, sums that hold in any supercell, GPAW, files."""

import csv
import json
from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import make_supercell
from numpy.testing import assert_allclose

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.scf import extract, run
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped
from gh_tools.spectra.band_path import band_path
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.eigen import solve
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.sites import find_sites, supercell_of
from gh_tools.spectra.unfolded_bands import unfolded_bands
from gh_tools.spectra.unfolded_reference import primitive_reference
from gh_tools.spectra.unfolded_report import write_unfolded
from gh_tools.spectra.unfolding import Unfolding, matched_shells
from tests.spectra.test_members import ensemble

CONFIG = SamplingConfig(kpts=(2, 2, 1))
SIDE = 2.5
CUTOFF = 4.0
BASIS = Basis(
    {
        5: ElementBasis(5, (Shell(0, 2.0), Shell(1, 2.0)), 3.0),
        7: ElementBasis(7, (Shell(0, 2.0), Shell(1, 2.0), Shell(0, 2.0)), 5.0),
    }
)
SUPERCELLS = {
    "3x2": [[3, 0, 0], [0, 2, 0], [0, 0, 1]],
    "root 7": [[3, 1, 0], [-1, 2, 0], [0, 0, 1]],
    "left-handed": [[0, 2, 0], [2, 1, 0], [0, 0, 1]],
}


def layer() -> ase.Atoms:
    return ase.Atoms(
        "BN",
        scaled_positions=[[0.05, 0.02, 0.5], [0.38, 0.36, 0.53]],
        cell=[[SIDE, 0, 0], [SIDE / 2, SIDE * np.sqrt(3) / 2, 0], [0, 0, 12]],
        pbc=[True, True, False],
    )


def random_blocks(spinor: bool):
    """Return a function that gives random H and S of a primitive translation, the same wherever it is asked for."""
    rng = np.random.default_rng(3)
    known: dict = {}

    def of(zi, zj, key, mirrored):
        if key in known:
            return known[key]
        ni, nj = (BASIS[z].n_orbitals * (1 + spinor) for z in (zi, zj))
        h = rng.normal(size=(ni, nj)) + (1j * rng.normal(size=(ni, nj)) if spinor else 0)
        half = rng.uniform(-0.02, 0.02, size=(BASIS[zi].n_orbitals, BASIS[zj].n_orbitals))
        s = np.kron(np.eye(2), half) if spinor else half
        if key == mirrored:
            h, s = h + h.conj().T, np.eye(ni) + s + s.T
        known[key] = h, s
        known[mirrored] = h.conj().T, s.T
        return known[key]

    return of


def hamiltonian(atoms, site, step, blocks, spinor=False) -> Hamiltonian:
    """Return H and S of a cell whose atoms are copies of a primitive cell's, displaced by whole vectors."""
    counts: dict = {}
    onsite, pairs = {}, {}
    for z in np.unique(atoms.numbers).tolist():
        of = np.flatnonzero(atoms.numbers == z)
        made = [blocks(z, z, (site[a], site[a], 0, 0, 0), (site[a], site[a], 0, 0, 0)) for a in of]
        onsite[z] = OnsiteBlocks(of, np.array([h for h, _ in made]), np.array([s for _, s in made]))
        counts[z] = len(of)
    cutoffs = {pair: CUTOFF for pair in BASIS.species_pairs()}
    change = step["matrix"]
    for (zi, zj), (i, j, cell_offset, _) in stored_pairs(atoms, cutoffs).items():
        far = step["of"][j] + cell_offset @ change - step["of"][i]
        made = [
            blocks(zi, zj, (site[a], site[b], *n), (site[b], site[a], *(-n)))
            for a, b, n in zip(i, j, far, strict=True)
        ]
        if made:
            h, s = (np.array(one) for one in zip(*made, strict=True))
            pairs[zi, zj] = PairBlocks(i, j, cell_offset, h, s)
    return Hamiltonian(atoms, BASIS, onsite, pairs, {"n_electrons": 8.0 * counts[5]}, spinor=spinor)


def repeated(matrix, spinor=False) -> tuple[Hamiltonian, Hamiltonian]:
    """Return random H of a primitive cell, and of a supercell of it."""
    blocks = random_blocks(spinor)
    unit = np.eye(3, dtype=int)
    small = wrapped(layer())
    first = {"of": np.zeros((2, 3), dtype=int), "matrix": unit}
    primitive = hamiltonian(small, [0, 1], first, blocks, spinor)
    matrix = np.array(matrix)
    large = wrapped(make_supercell(small, matrix, wrap=True))
    site = np.where(large.numbers == 5, 0, 1)
    of = (large.positions - small.positions[site]) @ np.linalg.inv(small.cell.array)
    steps = {"of": np.rint(of).astype(int), "matrix": matrix}
    return primitive, hamiltonian(large, site, steps, blocks, spinor)


@pytest.mark.parametrize("spinor", [False, True])
@pytest.mark.parametrize("name", SUPERCELLS)
def test_a_perfect_supercell_gives_the_bands_of_the_primitive_cell(name, spinor):
    matrix = np.array(SUPERCELLS[name])
    primitive, supercell = repeated(matrix, spinor)
    path = band_path(supercell.atoms, "GMKG", 7, matrix)
    sites = find_sites(supercell.atoms, matrix)
    cells = abs(round(np.linalg.det(matrix)))
    assert (sites.cells, sites.sites, sites.vacant, sites.beside) == (cells, 2, 0, 0)
    bands = unfolded_bands(supercell, path, sites, CONFIG)
    points = path.path.kpts @ np.linalg.inv(matrix).T
    expected = solve(primitive, KPoints(points, np.ones(7)), projected=False).energies
    assert_allclose(np.minimum(abs(bands.weights), abs(bands.weights - 1)), 0, atol=1e-6)
    for k in range(7):
        whole = bands.weights[0, k] > 0.5
        assert_allclose(bands.energies[0, k, whole], expected[0, k], atol=1e-9)
    assert_allclose(bands.weights.sum(axis=-1), primitive.n_orbitals, atol=1e-8)
    # The density of all states of the primitive cell, by the trapezoid rule.
    assert bands.orbitals == primitive.n_orbitals


def test_sums_hold_in_a_defective_supercell():
    matrix = np.array(SUPERCELLS["root 7"])
    _, supercell = repeated(matrix)
    rng = np.random.default_rng(0)
    # One atom less, and rattled: H and S are no longer those of a lattice.
    kept = np.arange(13)
    atoms = supercell.atoms[kept]
    atoms.positions += rng.uniform(-0.1, 0.1, (13, 3))
    atoms = wrapped(atoms)
    blocks = random_blocks(False)
    steps = {"of": rng.integers(-50, 50, (13, 3)) * [1, 1, 0], "matrix": matrix}
    disordered = hamiltonian(atoms, np.arange(13), steps, blocks)
    sites = find_sites(atoms, matrix)
    assert (sites.sites, sites.vacant, sites.beside) == (2, 1, 0)
    unfolding = Unfolding(disordered, sites)
    k = np.array([0.21, -0.13, 0.0])
    from scipy.linalg import eigh

    from gh_tools.orbitals.bloch import bloch_matrix

    s = bloch_matrix(disordered, k, "overlap")
    _, x = eigh(bloch_matrix(disordered, k), s)
    # The k-points of the primitive zone that fold onto k differ by reciprocal vectors of the supercell.
    found = {}
    for g in np.ndindex(7, 7):
        shift = np.array([*g, 0])
        place = tuple(np.round((np.linalg.inv(matrix).T @ shift) % 1, 6) % 1)
        found[place] = unfolding.weights(k + shift, x, s @ x)
    total = [found[place] for place in found]
    assert len(total) == 7
    assert_allclose(np.sum(total, axis=0), 1, atol=1e-10)
    for weights in total:
        assert_allclose(weights.sum(), disordered.n_orbitals / 7, atol=1e-9)


def test_sites_of_strained_displaced_and_other_atoms():
    rng = np.random.default_rng(5)
    matrix = np.array([[4, 1, 0], [-1, 3, 0], [0, 0, 1]])
    atoms = make_supercell(layer(), matrix)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.diag([0.03, -0.02, 0])), scale_atoms=True)
    atoms.positions += rng.uniform(-0.12, 0.12, atoms.positions.shape)
    del atoms[3]
    atoms.numbers[7] = 6
    atoms += ase.Atoms("H", [atoms.positions[0] + [0, 0, 2.0]])
    atoms = wrapped(atoms)
    sites = find_sites(atoms, matrix)
    assert (sites.cells, sites.sites) == (13, 2)
    assert (sites.vacant, sites.substituted, sites.beside) == (1, 1, 1)
    # The same from a file of the primitive cell, whose origin is another.
    given = layer()
    given.positions += [0.7, 0.3, 1.1]
    assert np.array_equal(supercell_of(atoms, given), matrix)
    other = find_sites(atoms, matrix, given)
    assert (other.vacant, other.substituted, other.beside) == (1, 1, 1)
    # Translations differ by what the sites' own positions are counted from.
    for one in range(2):
        apart = (sites.translation - other.translation)[sites.site == one] @ matrix
        assert_allclose(apart, np.round(apart[0])[None].repeat(len(apart), 0), atol=1e-9)
    with pytest.raises(DataError, match="expected whole numbers"):
        supercell_of(atoms, ase.Atoms("B", cell=[2.1, 3.3, 12], pbc=[True, True, False]))
    with pytest.raises(DataError, match="no site of the primitive cell"):
        find_sites(wrapped(layer()), np.diag([3, 3, 1]))


def test_a_layer_in_a_periodic_stack_is_unfolded_in_its_plane():
    """The cell of the layer is longer or shorter across it than that of the stack, which means nothing."""
    matrix = np.array([[3, 0, 0], [1, 2, 0], [0, 0, 1]])
    stack = make_supercell(layer(), matrix)
    stack.cell[2] *= 1.3
    stack += ase.Atoms("O3", [[0.5, 0.5, 8], [3, 1, 9], [5, 2, 8.5]])
    stack.pbc = True
    stack = wrapped(stack)
    given = layer()
    given.pbc = [True, True, False]
    assert np.array_equal(supercell_of(stack, given), matrix)
    sites = find_sites(stack, matrix, given)
    assert (sites.sites, sites.vacant, sites.substituted, sites.beside) == (2, 0, 0, 3)
    stack.pbc = [True, True, False]
    with pytest.raises(DataError, match="lacks vectors along periodic directions"):
        supercell_of(stack, ase.Atoms("B", cell=[2, 3, 12], pbc=[False, False, True]))


def test_shells_of_two_elements_are_matched_with_their_signs():
    table = basis_table(LabelConfig(setups={"W": "6"}), [14, 16, 32, 34, 42, 74])
    assert matched_shells(table[16], table[34]) == ((0, 1), (1, 1), (2, 1))
    tungsten, molybdenum = (
        matched_shells(table[74], table[42]),
        matched_shells(table[42], table[74]),
    )
    # 6s of W is 5s of Mo, not its semicore 4s, which W's setup of six electrons lacks.
    assert tungsten[0][0] == 1 and molybdenum[0] is None
    for a, match in enumerate(tungsten):
        assert molybdenum[match[0]] == (a, match[1])
    assert matched_shells(BASIS[5], BASIS[7]) == (None, None)


@pytest.fixture(scope="module")
def hydrogen():
    """Labels by GPAW of a chain of H₂ molecules, of its primitive cell and of three of them."""
    config = LabelConfig(basis="sz(dzp)", kpts=(1, 1, 6), h=0.25)
    cell = ase.Atoms("H2", [[2, 2, 0.1], [2, 2, 0.9]], cell=[4, 4, 2], pbc=[False, False, True])
    found = []
    for repeats in (1, 3):
        atoms = wrapped(cell * (1, 1, repeats))
        own = config.model_copy(update={"kpts": (1, 1, 6 // repeats)})
        basis = basis_table(own, atoms.numbers)
        found.append(extract(atoms, run(atoms, own, basis, "-"), own, basis))
    return found


def test_labels_of_a_supercell_give_the_bands_of_the_primitive_cell(hydrogen, tmp_path):
    primitive, supercell = hydrogen
    matrix = np.diag([1, 1, 3])
    path = band_path(supercell.atoms, None, 21, matrix)
    config = SamplingConfig(kpts=(1, 1, 2))
    bands = unfolded_bands(
        supercell, path, find_sites(supercell.atoms, matrix), config, window=(-8, 12)
    )
    reference = primitive_reference(
        primitive, supercell.atoms, path, config.model_copy(update={"kpts": (1, 1, 6)})
    )
    for k in range(21):
        whole = bands.weights[0, k] > 0.5
        # The grid of the calculation is commensurate: what is left is its convergence.
        assert_allclose(bands.energies[0, k, whole], reference.energies[0, k], atol=2e-4)
    assert_allclose(np.sort(bands.weights, axis=-1)[..., -2:], 1, atol=1e-4)
    for ending in (".png", ".json", ".csv"):
        facts = write_unfolded(tmp_path / f"bands{ending}", bands, reference, "chain")
    assert facts["sharpness"] > 0.999 and facts["orbitals"] == 2
    data = json.loads((tmp_path / "bands.json").read_text())
    spectral = np.array(data["spectral_function"])
    # Two electrons in one band, whatever k.
    occupied = np.array(data["energy"]) < 0.5 * data["gap"]
    total = np.trapezoid(spectral[0][:, occupied], np.array(data["energy"])[occupied])
    assert_allclose(total, 2, atol=1e-3)
    rows = list(csv.DictReader((tmp_path / "bands.csv").open()))
    assert len(rows) == bands.energies.size
    assert_allclose(sum(float(row["weight"]) for row in rows), 2 * 21, atol=1e-6)


def test_slices_give_the_weights_of_dense_matrices(monkeypatch):
    matrix = np.array(SUPERCELLS["3x2"])
    _, supercell = repeated(matrix)
    path = band_path(supercell.atoms, "GM", 3, matrix)
    sites = find_sites(supercell.atoms, matrix)
    dense = unfolded_bands(supercell, path, sites, CONFIG, window=(-1.5, 1.5), zero="fermi")
    from gh_tools.spectra import unfolded_bands as module

    monkeypatch.setattr(module, "choose_solver", lambda *_: "slices")
    sliced = unfolded_bands(supercell, path, sites, CONFIG, window=(-1.5, 1.5), zero="fermi")
    assert not sliced.complete and dense.complete
    assert sliced.energies.size < dense.energies.size
    assert_allclose(sliced.fermi_level, dense.fermi_level, atol=1e-8)
    assert_allclose(sliced.spectral_function, dense.spectral_function, atol=1e-6)


def test_points_that_fold_onto_gamma_are_solved_at_once(monkeypatch):
    from gh_tools.spectra import unfolded_bands as module

    matrix = np.diag([6, 6, 1])
    _, supercell = repeated(matrix)
    path = band_path(supercell.atoms, "GMKG", None, matrix)
    kpoints = path.path.kpts
    # 3 steps from Γ to M, 1 to K, 2 back.
    assert_allclose(kpoints, np.round(kpoints), atol=1e-9)
    assert len(kpoints) == 7
    sites = find_sites(supercell.atoms, matrix)
    options = {"window": (-1.5, 1.5), "zero": "fermi"}
    dense = unfolded_bands(supercell, path, sites, CONFIG, **options)
    assert len(module._Folded.of(kpoints, Unfolding(supercell, sites)).kpoints) == 1
    monkeypatch.setattr(module, "choose_solver", lambda *_: "slices")
    sliced = unfolded_bands(supercell, path, sites, CONFIG, **options)
    assert_allclose(sliced.spectral_function, dense.spectral_function, atol=1e-6)
    # One by one, each at a k-point of its own.
    monkeypatch.setattr(module, "choose_solver", lambda *_: "dense")
    monkeypatch.setattr(module, "_DECIMALS", 20)
    moved = kpoints + 1e-12 * np.arange(7)[:, None] * [1, 0, 0]
    monkeypatch.setattr(path.path, "_kpts", moved)
    alone = unfolded_bands(supercell, path, sites, CONFIG, **options)
    assert len(module._Folded.of(moved, Unfolding(supercell, sites)).kpoints) == 7
    assert_allclose(alone.spectral_function, dense.spectral_function, atol=1e-6)


def test_slices_vary_as_dense_matrices_over_an_ensemble(monkeypatch):
    matrix = np.array(SUPERCELLS["3x2"])
    _, supercell = repeated(matrix)
    # Members that move E_F by far less than the window about it, in which slices know eigenvalues.
    supercell = ensemble(supercell, 3, 1e-3)
    path = band_path(supercell.atoms, "GM", 3, matrix)
    sites = find_sites(supercell.atoms, matrix)
    options = {"window": (-1.5, 1.5), "zero": "fermi"}
    dense = unfolded_bands(supercell, path, sites, CONFIG, **options)
    from gh_tools.spectra import unfolded_bands as module

    monkeypatch.setattr(module, "choose_solver", lambda *_: "slices")
    sliced = unfolded_bands(supercell, path, sites, CONFIG, **options)
    # What all eigenvalues share is a mean of those that are known: of ±5 eV, or of the window about E_F.
    assert sliced.uncertainties["fermi_level"] == pytest.approx(
        dense.uncertainties["fermi_level"], abs=1e-9
    )
    for k in range(len(path.path.kpts)):
        listed = np.isfinite(sliced.energies[0, k])
        energies = sliced.energies[0, k][listed]
        first = np.searchsorted(dense.energies[0, k], energies[0] - 1e-6)
        same = slice(first, first + len(energies))
        assert_allclose(dense.energies[0, k][same], energies, atol=1e-7)
        assert dense.energies_uncertainty[0, k][same].min() > 1e-5
        assert_allclose(
            sliced.energies_uncertainty[0, k][listed],
            dense.energies_uncertainty[0, k][same],
            atol=1e-8,
        )
    told = sliced.to_json()["energies_uncertainty"]
    assert np.shape(told) == sliced.energies.shape


def test_a_reference_that_is_no_primitive_cell_is_refused(hydrogen):
    primitive, supercell = hydrogen
    path = band_path(supercell.atoms, None, 5, np.diag([1, 1, 3]))
    other = replace(primitive, atoms=primitive.atoms.copy())
    other.atoms.set_cell([4, 4, 2.6])
    with pytest.raises(UsageError, match="those of the primitive cell are drawn"):
        primitive_reference(other, supercell.atoms, path, CONFIG)
