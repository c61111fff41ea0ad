"""Weights of groups of orbitals, densities against position, and local band edges."""

import ase
import numpy as np
import pytest
import scipy.linalg

from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.groups import atoms_of, bins_of, groups_of, parse_project
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack
from gh_tools.spectra.local_edges import local_edges
from gh_tools.spectra.positions import along, bins, layers
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.units import GIB
from tests.orbitals.tables import SIO, quartz_like, random_hamiltonian


def config(**settings) -> DosConfig:
    return DosConfig(**{"kpts": (2, 2, 2), "points": 300, "window": (-8, 8), **settings})


def test_two_atoms_by_hand(tight_binding):
    """One orbital on each of two atoms: 2 × 2 by hand, at the ratio of coefficients that H - ES gives."""
    atoms = ase.Atoms("HHe", positions=[[0, 0, 0], [0, 0, 1]])
    e1, e2, t, s = 0.3, -1.1, -0.8, 0.25
    hamiltonian = tight_binding(atoms, {1: e1, 2: e2}, t, 1.1, overlap=s)
    groups = {"atoms": atoms_of(hamiltonian, "mulliken"), "roots": atoms_of(hamiltonian, "lowdin")}
    found = solve(hamiltonian, monkhorst_pack((1, 1, 1)), groups=groups)
    root = np.sqrt([1 + s, 1 - s])  # of S's eigenvalues, (1, ±1)/√2
    for band, energy in enumerate(found.energies[0, 0]):
        a, b = t - energy * s, -(e1 - energy)  # (e1 - E) a + (t - E s) b = 0
        norm = a * a + b * b + 2 * s * a * b
        expected = np.array([a * a + s * a * b, b * b + s * a * b]) / norm
        np.testing.assert_allclose(found.weights["atoms"][:, 0, 0, band], expected, atol=1e-12)
        plus, minus = root[0] * (a + b) / 2, root[1] * (a - b) / 2
        expected = np.array([(plus + minus) ** 2, (plus - minus) ** 2]) / norm
        np.testing.assert_allclose(found.weights["roots"][:, 0, 0, band], expected, atol=1e-12)


@pytest.mark.parametrize("method", ["mulliken", "lowdin"])
@pytest.mark.parametrize("spins", [1, 2])
def test_shells_and_atoms_are_sums_over_orbitals(spins, method):
    hamiltonian = random_hamiltonian(quartz_like(), SIO, 3, spins)
    kpoints = monkhorst_pack((1, 2, 1))
    settings = config(projection=method)
    groups = {
        name: groups_of(hamiltonian, settings.model_copy(update={"project": name}))
        for name in ("species", "shell", "atom")
    }
    found = solve(hamiltonian, kpoints, projection=method, groups=groups)
    np.testing.assert_allclose(found.weights["species"], found.projections, atol=1e-12)
    assert groups["shell"].names == ("O s", "O p", "O f", "Si s", "Si p", "Si d")
    assert groups["atom"].names[:3] == ("Si0", "O1", "O2")
    for s, k in np.ndindex(spins, len(kpoints)):
        h, overlap = (
            bloch_matrix(hamiltonian, kpoints.points[k], field, s)
            for field in ("hamiltonian", "overlap")
        )
        _, c = scipy.linalg.eigh(h, overlap)
        if method == "mulliken":
            populations = np.real(c.conj() * (overlap @ c))
        else:
            populations = np.abs(scipy.linalg.sqrtm(overlap) @ c) ** 2
        shells, by_atom = {}, []
        row = 0
        for atom in hamiltonian.atoms:
            first = row
            for degree in SIO[atom.number].degrees:
                key = f"{atom.symbol} {'spdf'[degree]}"
                some = populations[row : row + 2 * degree + 1].sum(axis=0)
                shells[key] = shells.get(key, 0) + some
                row += 2 * degree + 1
            by_atom.append(populations[first:row].sum(axis=0))
        for name, weights in zip(groups["shell"].names, found.weights["shell"], strict=True):
            np.testing.assert_allclose(weights[s, k], shells[name], atol=1e-9)
        np.testing.assert_allclose(found.weights["atom"][:, s, k], by_atom, atol=1e-9)


def test_spins_of_two_channels_are_all_of_a_state_or_nothing(graphene):
    hamiltonian = graphene(mass=0.3, splitting=0.4)
    up_down = groups_of(hamiltonian, config(project="spin"))
    found = solve(hamiltonian, monkhorst_pack((2, 2, 1)), groups={"spin": up_down})
    np.testing.assert_allclose(found.weights["spin"][0, 0], 1, atol=1e-12)
    np.testing.assert_allclose(found.weights["spin"][1, 0], 0, atol=1e-12)
    np.testing.assert_allclose(found.weights["spin"][:, 1].sum(axis=0), 1, atol=1e-12)
    with pytest.raises(DataError, match="no spin"):
        groups_of(graphene(), config(project="spin"))


@pytest.mark.parametrize("project", ["shell", "layer", "atom", "spin"])
def test_sums_over_groups_and_positions_are_the_density_of_states(project):
    hamiltonian = random_hamiltonian(quartz_like(), SIO, 1, 2)
    found = compute_spectrum(hamiltonian, config(project=project, along="b", kpts=(1, 2, 1)))
    total = found.density.sum(axis=0)
    groups, positions = found.local["groups"], found.local["positions"]
    np.testing.assert_allclose(groups.density.sum(axis=0), total, atol=1e-10)
    whole = positions.density.sum(axis=0) * positions.spacing
    np.testing.assert_allclose(whole, total, atol=1e-10)
    assert positions.atoms.sum() == pytest.approx(len(hamiltonian.atoms), abs=1e-12)
    height = hamiltonian.atoms.cell.volume / np.linalg.norm(
        np.cross(hamiltonian.atoms.cell[0], hamiltonian.atoms.cell[2])
    )
    assert positions.spacing * len(positions.position) == pytest.approx(height, rel=1e-12)


def two_sheets(tight_binding, distance=6.0, shift=0.5, **cell):
    """Two sheets of boron nitride, with gaps of 0.8 and 2.4 eV and midgaps apart by `shift` eV, without coupling."""
    side = 1.42 * np.sqrt(3)
    atoms = ase.Atoms(
        "BNAlP",
        positions=[[0, 0, 1], [0, 1.42, 1], [0, 0, 1 + distance], [0, 1.42, 1 + distance]],
        cell=[[side, 0, 0], [side / 2, side * np.sqrt(3) / 2, 0], [0, 0, 2 * distance + 1]],
        pbc=[True, True, cell.get("periodic", False)],
    )
    onsite = {5: 0.4, 7: -0.4, 13: 1.2 + shift, 15: -1.2 + shift}
    return tight_binding(atoms, onsite, -2.7, 1.5)


@pytest.mark.parametrize("periodic", [True, False])
def test_local_edges_of_uncoupled_sheets_are_their_own(tight_binding, periodic):
    hamiltonian = two_sheets(tight_binding, periodic=periodic)
    # The grid has K, where the edges are, with the weight 2/36 of two atoms' 0.02 states and more.
    settings = config(kpts=(6, 6, 1), along="z", position_width=0.5)
    found = compute_spectrum(hamiltonian, settings)
    groups, fermi = found.local["groups"], found.scalars["fermi_level"]
    assert groups.names == ("1 BN", "2 AlP")
    np.testing.assert_allclose(groups.edges.valence + fermi, [-0.4, -0.7], atol=1e-9)
    np.testing.assert_allclose(groups.edges.conduction + fermi, [0.4, 1.7], atol=1e-9)
    record = groups.records(0.05)[1]
    assert record["valence_offset"] == pytest.approx(-0.3, abs=1e-9)
    assert record["conduction_offset"] == pytest.approx(1.3, abs=1e-9)
    unsure = groups.edges.valence_uncertainty.sum()
    assert record["valence_offset_uncertainty"] == pytest.approx(unsure, abs=1e-12)
    assert record["local_gap"] == pytest.approx(2.4, abs=1e-9) and record["gap_resolved"]
    positions = found.local["positions"]
    near = [np.argmin(abs(positions.position - z)) for z in (1.0, 7.0)]
    np.testing.assert_allclose(positions.edges.conduction[near] + fermi, [0.4, 1.7], atol=1e-9)
    # At twice the threshold the edge is still the same eigenvalue, at sixfold the next one of the grid.
    assert positions.edges.conduction_uncertainty[near] == pytest.approx([0, 0], abs=1e-9)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_parabolic_band_begins_within_the_uncertainty(dimension):
    """N(E) ∝ E^(d/2): the edge at the threshold lies beyond the bottom, by 1/3.75, 1/1.5 and 1/0.96 uncertainties."""
    n = 20_000
    energies = 1.0 + (np.arange(1, n + 1) / n) ** (2 / dimension)
    energies = np.concatenate([[-1.0], energies])[None, None]
    weights = np.full((1, *energies.shape), 1.0 / n)
    made = Eigenvalues(energies, KPoints(np.zeros((1, 3)), np.ones(1)), np.array([1]))
    found = local_edges(made, weights, np.ones(1), 0.0, 0.01)
    beyond = found.conduction[0] - 1.0
    # 100 states are counted, to one: 1 % in their number, at most 2 % in the energy.
    assert beyond == pytest.approx((0.01 / 2) ** (2 / dimension), rel=2.1e-2)
    expected = {1: 3.75, 2: 1.5, 3: 0.96}[dimension]
    assert found.conduction_uncertainty[0] / beyond == pytest.approx(expected, rel=4e-2)
    assert np.isnan(found.valence[0])  # one state there, of 1/20,000 of the atom


def test_layers_and_bins_do_not_depend_on_the_origin():
    rng = np.random.default_rng(0)
    atoms = ase.Atoms("C9", cell=[[3, 0, 0], [1, 4, 0], [0.5, 1.5, 20]], pbc=True)
    heights = np.concatenate([3 + rng.uniform(0, 2, 5), 9 + rng.uniform(0, 2, 4)])
    atoms.positions = np.column_stack([rng.uniform(0, 3, (9, 2)), heights])
    expected = [set(part.tolist()) for part in layers(along(atoms, "c"), 2.4)]
    assert expected == [set(range(5)), set(range(5, 9))]
    weights = bins(along(atoms, "c"), 0.2, 0.5)[2]
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-14)
    for move in (8.0, 13.0, -5.0):
        moved = atoms.copy()
        moved.positions += [0, 0, move]
        moved.wrap()
        line = along(moved, "c")
        assert [set(part.tolist()) for part in layers(line, 2.4)] in (expected, expected[::-1])
        assert np.ptp(line.coordinate) == pytest.approx(np.ptp(heights), abs=1e-9)
    # With images all along a short period a population is the same everywhere.
    short = ase.Atoms("C", cell=[3, 3, 1.0], pbc=True)
    np.testing.assert_allclose(bins(along(short, "z"), 0.1, 2.0)[2], 0.1, atol=1e-12)


def test_cartesian_planes_that_are_none_of_the_lattice_are_refused(graphene):
    hamiltonian = graphene()
    assert along(hamiltonian.atoms, "y").period == pytest.approx(2.13, abs=0.01)
    with pytest.raises(DataError, match="ask for a, b or c"):
        along(hamiltonian.atoms, "x")
    assert along(hamiltonian.atoms, "z").period is None


def test_what_options_mean(tmp_path, graphene):
    assert parse_project("layer") == {"project": "layer"}
    assert parse_project("W+Se,oxide=Hf+O")["groups"] == {
        "W+Se": ["W", "Se"],
        "oxide": ["Hf", "O"],
    }
    (tmp_path / "a.json").write_text('{"edge": [0, 3], "nitrogen": [1, "B"]}')
    (tmp_path / "a.txt").write_text("left\nright\nleft\nleft\n")
    hamiltonian = graphene((2, 1, 1))
    read = parse_project(str(tmp_path / "a.txt"))
    groups = groups_of(hamiltonian, config(**read))
    assert groups.names == ("left", "right") and groups.atoms.tolist() == [3, 1]
    groups = groups_of(hamiltonian, config(project="groups", groups={"n": (1, 3), "first": (0,)}))
    assert groups.names == ("n", "first", "rest") and groups.atoms.tolist() == [2, 1, 1]
    with pytest.raises(
        DataError, match="4 atoms, as many as the file of groups has lines, found 6"
    ):
        groups_of(graphene((3, 1, 1)), config(**read))
    for text, expected in (("Xx+O", "none"), ("shells", "none"), ("", "none")):
        with pytest.raises(UsageError, match=expected):
            parse_project(text)
    with pytest.raises(DataError, match="is in edge and in nitrogen"):
        groups_of(
            graphene((2, 1, 1)),
            config(project="groups", groups={"edge": (0, 3), "nitrogen": ("N",)}),
        )
    with pytest.raises(DataError, match="no atom 7"):
        groups_of(hamiltonian, config(project="groups", groups={"edge": (7,)}))


def test_slices_give_what_dense_matrices_give(wse2_sheet):
    settings = config(
        kpts=(2, 1, 1), window=(-1, 1), along="z", project="shell", states=(-0.5, 0.5)
    )
    small = wse2_sheet(3)
    dense = compute_spectrum(small, settings)
    sliced = compute_spectrum(small, settings, "slices", 8 * GIB)
    assert sliced.certificate.solver == "slices"
    for name in ("groups", "positions"):
        one, other = dense.local[name], sliced.local[name]
        np.testing.assert_allclose(other.density, one.density, rtol=1e-8, atol=1e-7)
        # Slices list what the window needs; where it does not reach the threshold there is no edge.
        for side in ("valence", "conduction"):
            expected, found = getattr(one.edges, side), getattr(other.edges, side)
            known = np.isfinite(found)
            np.testing.assert_allclose(found[known], expected[known], atol=1e-8)
            assert np.all(np.isnan(expected[~known]) | (abs(expected[~known]) > 1.39))
    assert len(dense.states) > 5
    for name in ("spin", "band"):
        np.testing.assert_array_equal(getattr(sliced.states, name), getattr(dense.states, name))
    for name in ("zone", "energy", "electrons", "sharing", "weight"):
        one, other = getattr(dense.states, name), getattr(sliced.states, name)
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_bins_follow_atoms(tight_binding):
    hamiltonian = two_sheets(tight_binding)
    groups = bins_of(hamiltonian, config(along="c", position_width=0.3, position_spacing=0.1))
    in_sheet = abs(groups.position - 7.0) < 2.0
    populations = groups.of(np.array([[0.0], [0.0], [0.3], [0.7]]))[:, 0]
    assert populations[in_sheet].sum() == pytest.approx(1.0, abs=1e-9)
