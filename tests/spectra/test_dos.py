"""The density of states and counts against integrals known in closed form."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gh_tools.spectra.dos import energy_grid, projected_dos, states_in_window
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.kpoints import KPoints, monkhorst_pack


def random_eigenvalues(count: int = 300, seed: int = 0) -> Eigenvalues:
    rng = np.random.default_rng(seed)
    weights = rng.random(3)
    weights /= weights.sum()
    energies = np.sort(rng.uniform(-8, 8, (1, 3, count)), axis=-1)
    share = rng.random(energies.shape)
    return Eigenvalues(
        energies,
        KPoints(np.zeros((3, 3)), weights),
        np.array([8, 14]),
        np.stack([share, 1 - share]),
    )


@pytest.mark.parametrize("width", [0.002, 0.05, 1.0, 50.0])
def test_blocks_of_gaussians_are_the_plain_sum(width):
    eigenvalues = random_eigenvalues()
    energy = energy_grid((-9.0, 9.0), 5001)
    density = projected_dos(eigenvalues, energy, width)
    flat = eigenvalues.energies.ravel()
    weight = eigenvalues.states.ravel()
    sample = np.arange(1, len(energy) - 1, 37)
    half = 0.5 * (energy[1] - energy[0])
    # The average over a cell, by Gauss and Legendre with 10 points, in place of the normal distribution.
    node, share = np.polynomial.legendre.leggauss(10)
    at = energy[sample, None] + half * node
    gaussian = np.exp(-(((at[..., None] - flat) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    average = np.einsum("epl,p->el", gaussian, share / 2)
    for row, part in zip(density, eigenvalues.projections, strict=True):
        # The cut at 8 widths leaves 1e-15 of each of 900 eigenvalues, over a cell of 0.0036 eV.
        np.testing.assert_allclose(row[sample], average @ (weight * part.ravel()), atol=1e-9)
    np.testing.assert_allclose(density.sum(axis=0)[sample], average @ weight, atol=1e-9)


@pytest.mark.parametrize("width", [1e-6, 1e-4, 1e-3, 0.05, 3.0])
@pytest.mark.parametrize("points", [2, 3, 61, 4001])
def test_integral_over_the_grid_is_the_number_of_states_in_it(width, points):
    eigenvalues = random_eigenvalues()
    for window in ((-3.1, 2.7), (-20.0, 20.0), (50.0, 51.0)):
        energy = energy_grid(window, points)
        density = projected_dos(eigenvalues, energy, width)
        for row, z in zip(np.trapezoid(density, energy, axis=1), (8, 14), strict=True):
            assert row == pytest.approx(states_in_window(eigenvalues, [z], window, width), abs=1e-9)


@pytest.mark.parametrize("splitting", [None, 0.4])
def test_integral_is_the_number_of_states(graphene, splitting):
    hamiltonian = graphene((2, 1, 1), mass=0.3, overlap=0.1, splitting=splitting)
    eigenvalues = solve(hamiltonian, monkhorst_pack((4, 4, 1)))
    energy = energy_grid((-15.0, 20.0), 20_000)
    density = projected_dos(eigenvalues, energy, 0.05)
    # The trapezoid rule is exact to rounding for Gaussians sampled at 0.035 of their width.
    assert np.trapezoid(density.sum(axis=0), energy) == pytest.approx(8.0, abs=1e-9)
    mulliken = np.trapezoid(density, energy, axis=1)
    assert mulliken.sum() == pytest.approx(8.0, abs=1e-9)


def test_van_hove_singularities_of_graphene(graphene):
    eigenvalues = solve(graphene(), monkhorst_pack((120, 120, 1)))
    energy = energy_grid((-9.0, 9.0), 20_000)
    density = projected_dos(eigenvalues, energy, 0.05).sum(axis=0)
    # Logarithmic peaks at ±|t|, where the M point is; a broadened one lies within half a width.
    for side in (energy < 0, energy > 0):
        peak = energy[side][np.argmax(density[side])]
        assert abs(peak) == pytest.approx(2.7, abs=0.025)
    # Steps at ±3|t|: nothing is left beyond, and a plateau before.
    assert density[np.abs(energy) > 8.1 + 0.5].max() < 1e-9
    assert density[np.argmin(np.abs(energy - 8.0))] > 0.1
    # D(E) = 2 · 2 Ω |E| / (2π ħ²v²) per cell near the Dirac point, ħv = √3/2 a t, Ω = √3/2 a².
    slope = 4 * (np.sqrt(3) / 2) / (2 * np.pi * 0.75 * 2.7**2)
    at = (np.abs(energy) > 0.5) & (np.abs(energy) < 0.8)
    # Trigonal warping adds terms of order (E/t)² = 6 %; the grid makes ripples of a few percent.
    np.testing.assert_allclose(np.mean(density[at] / np.abs(energy[at])), slope, rtol=0.06)


def test_supercell_has_twice_the_density(graphene):
    energy = energy_grid((-9.0, 12.0), 2000)
    options = {"mass": 0.3, "overlap": 0.1}
    once = projected_dos(solve(graphene(**options), monkhorst_pack((4, 4, 1))), energy, 0.05)
    twice = projected_dos(
        solve(graphene((2, 1, 1), **options), monkhorst_pack((2, 4, 1))), energy, 0.05
    )
    # Eigenvalues agree to 1e-12 eV; where they are degenerate eigenvectors may mix, sums do not.
    np.testing.assert_allclose(twice, 2 * once, atol=1e-8)


def test_half_of_the_grid_has_the_same_density(graphene):
    energy = energy_grid((-9.0, 12.0), 2000)
    hamiltonian = graphene((1, 2, 1), mass=0.3, overlap=0.1)
    half = projected_dos(solve(hamiltonian, monkhorst_pack((3, 4, 1))), energy, 0.05)
    full = projected_dos(
        solve(hamiltonian, monkhorst_pack((3, 4, 1), time_reversal=False)), energy, 0.05
    )
    np.testing.assert_allclose(half, full, atol=1e-8)


def test_counts_of_a_step_density():
    # 2·N/10 states per eV, evenly over 10 eV: a free electron gas in two dimensions.
    count = 10_000
    energies = (np.arange(count) + 0.5) / count * 10
    eigenvalues = Eigenvalues(
        energies[None, None],
        KPoints(np.zeros((1, 3)), np.ones(1)),
        np.array([34, 74]),
        np.stack([np.full((1, 1, count), 0.25), np.full((1, 1, count), 0.75)]),
    )
    per_ev = 2 * count / 10
    for width in (0.0, 0.05):
        # Inside the step, broadening changes nothing; both ends of the window cut half an eigenvalue.
        assert states_in_window(eigenvalues, [34, 74], (4.0, 4.2), width) == pytest.approx(
            0.2 * per_ev, abs=2.0
        )
        assert states_in_window(eigenvalues, [74], (4.0, 4.2), width) == pytest.approx(
            0.15 * per_ev, abs=1.5
        )
    # At the edge E = 0: ∫ over (-0.2, 0) of the step broadened is per_ev · σ/√2π (4 widths in).
    leaked = states_in_window(eigenvalues, [34, 74], (-0.2, 0.0), 0.05)
    assert leaked == pytest.approx(per_ev * 0.05 / np.sqrt(2 * np.pi), rel=1e-4)
    assert states_in_window(eigenvalues, [34, 74], (-0.2, 0.0)) == 0.0


def test_smeared_count_is_the_integral_of_the_density():
    eigenvalues = random_eigenvalues()
    window = (0.3, 0.5)
    energy = energy_grid(window, 4001)
    density = projected_dos(eigenvalues, energy, 0.05)
    # The trapezoid rule at 0.001 widths: second derivative D'' h² / 12 ~ 1e-7.
    assert states_in_window(eigenvalues, [8], window, 0.05) == pytest.approx(
        np.trapezoid(density[0], energy), abs=1e-6
    )


def test_what_lies_on_an_end_counts_half():
    eigenvalues = Eigenvalues(
        np.array([[[0.0, 0.1, 0.2, 0.3]]]),
        KPoints(np.zeros((1, 3)), np.ones(1)),
        np.array([1]),
        np.ones((1, 1, 1, 4)),
    )
    # Two states each: half of those at 0, those at 0.1, half of those at 0.2.
    assert states_in_window(eigenvalues, [1], (0.0, 0.2)) == 4.0
    assert states_in_window(eigenvalues, [1], (0.2, 0.4)) == 3.0
    # It is the limit of what is broadened, and adjacent windows add up, the narrowest too.
    assert states_in_window(eigenvalues, [1], (0.0, 0.2), 1e-4) == pytest.approx(4.0, abs=1e-12)
    ends = [-1.0, 0.0, 5e-7, 0.1, 0.2, 0.2 + 2e-7, 0.3, 1.0]
    counts = [states_in_window(eigenvalues, [1], pair) for pair in itertools.pairwise(ends)]
    assert sum(counts) == 8.0


def test_rounding_does_not_decide_what_lies_in_a_window():
    rng = np.random.default_rng(0)
    eigenvalues = random_eigenvalues()
    for end in eigenvalues.energies[0, 0, ::29]:
        for window in ((end, end + 0.3), (end - 0.3, end)):
            counts = {
                states_in_window(
                    replace(
                        eigenvalues,
                        energies=eigenvalues.energies
                        + rng.uniform(-1, 1, eigenvalues.energies.shape) * 1e-9,
                    ),
                    [8],
                    window,
                )
                for _ in range(4)
            }
            assert len(counts) == 1


def test_coarse_grids_and_narrow_widths():
    eigenvalues = random_eigenvalues(10)
    coarse = projected_dos(eigenvalues, np.linspace(-9, 9, 7), 0.01)
    assert coarse.shape == (2, 7) and np.isfinite(coarse).all()
