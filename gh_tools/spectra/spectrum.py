"""The spectrum of one structure: eigenvalues, Fermi level, density of states, carriers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import ase
import numpy as np
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.orbitals.lattice import reduced_basis
from gh_tools.resources import free_memory
from gh_tools.spectra.band_edges import refined_edges
from gh_tools.spectra.choice import Solver
from gh_tools.spectra.config import DosConfig, SamplingConfig
from gh_tools.spectra.dos import energy_grid, projected_dos
from gh_tools.spectra.eigen import Eigenvalues, solve
from gh_tools.spectra.fermi import (
    electrons_of,
    fermi_level_of,
)
from gh_tools.spectra.groups import Groups, atoms_of, bins_of, groups_of
from gh_tools.spectra.kpoints import KPoints, kpoints_for_density, monkhorst_pack, reduced_grid
from gh_tools.spectra.local_edges import LocalDensities, local_densities
from gh_tools.spectra.localisation import States, list_states
from gh_tools.spectra.scalars import (
    UNCERTAINTY,
    carrier_scalars,
    edge_scalars,
    scalar_uncertainties,
)
from gh_tools.spectra.sparse.around_fermi import certified_eigenvalues
from gh_tools.spectra.sparse.kpm import kernel_polynomial_dos
from gh_tools.spectra.sparse.solver import Certificate, SlicedSolver
from gh_tools.spectra.window import whole_window
from gh_tools.store.parts import Pieces


@dataclass(frozen=True)
class Spectrum:
    """What is computed for one structure.

    Attributes:
        eigenvalues: eigenvalues on the k grid, absolute.
        density: projected density of states of each of `eigenvalues.species`, states/eV, against
            E - E_F on the energies of the configuration.
        scalars: the numbers of `SCALARS` that are defined for the structure; where an ensemble predicted H, those of
            `UNCERTAIN` also have a standard deviation, by the same name with the ending `UNCERTAINTY`.
        certificate: how the eigenvalues were found, and what vouches for them.
        deviation: standard error of the total density, states/eV, from stochastic traces and from the members of an
            ensemble; None where there is neither.
        local: what was projected on more than species: ``groups`` where these were asked for or positions are, and
            ``positions``.
        states: localisation of the states that were asked for.
    """

    eigenvalues: Eigenvalues
    density: Float[np.ndarray, "species points"]
    scalars: dict[str, float]
    certificate: Certificate
    deviation: Float[np.ndarray, " points"] | None = None
    local: Mapping[str, LocalDensities] = field(default_factory=dict)
    states: States | None = None


def asked_groups(hamiltonian: Hamiltonian, config: DosConfig) -> dict[str, Groups]:
    """Return the groups of orbitals, besides species, that a configuration needs the weights of.

    Returns:
        By name: ``groups`` (layers where positions are asked for and no others are), ``positions`` and ``atoms``.

    Raises:
        DataError: the structure has no such groups.
    """
    found = {}
    if config.project != "species":
        found["groups"] = groups_of(hamiltonian, config)
    if config.along is not None:
        if "groups" not in found:
            layers = config.model_copy(update={"project": "layer"})
            found["groups"] = groups_of(hamiltonian, layers)
        found["positions"] = bins_of(hamiltonian, config)
    if config.states is not None:
        found["atoms"] = atoms_of(hamiltonian, "lowdin")
    return found


def kpoints_for(atoms: ase.Atoms, config: SamplingConfig, *, time_reversal: bool = True) -> KPoints:
    """Return the k-points at which a structure is solved, with weights that add up to 1.

    Args:
        atoms: the structure, whose cell decides where the configuration gives no grid.
        config: the grid, or its density in points per Å⁻¹.
        time_reversal: whether E(k) = E(-k), so that one of both stands for the other with twice the weight.
    """
    if config.kpts:
        return monkhorst_pack(config.kpts, time_reversal=time_reversal)
    return kpoints_for_density(atoms, config.kpoint_density, time_reversal=time_reversal)


def describe_grid(atoms: ase.Atoms, config: SamplingConfig) -> str:
    """Return the k grid of a structure in words, such as "18 × 18 × 1"; that of the reduced cell says so.

    Args:
        atoms: the structure.
        config: that decides on it.
    """
    text = " × ".join(map(str, config.kpts or reduced_grid(atoms, config.kpoint_density)))
    _, change = reduced_basis(atoms.cell.array, atoms.pbc)
    if config.kpts or np.array_equal(change, np.eye(3)):
        return text
    return f"{text} of the reduced cell"


def prepared(hamiltonian: Hamiltonian, config: SamplingConfig) -> tuple[Hamiltonian, KPoints]:
    """Return the Hamiltonian whose eigenvalues the configuration asks for, and the k-points.

    Eigenvalues at k and -k are equal without a magnetic moment by time reversal, and without spin–orbit coupling because
    H(R) is real; with both they are not.

    Raises:
        DataError: spin–orbit coupling is asked for and the basis has no PAW setups, or H is one of spinors already.
    """
    if hamiltonian.spinor:
        if config.soc:
            raise DataError(
                "soc: H is one of spinors already, with the coupling that its run had; leave out --soc"
            )
        # The run may have been magnetic.
        return hamiltonian, kpoints_for(hamiltonian.atoms, config, time_reversal=False)
    magnetic = hamiltonian.n_spins == 2
    kpoints = kpoints_for(hamiltonian.atoms, config, time_reversal=not (config.soc and magnetic))
    if config.soc:
        from gh_tools.dft.spin_orbit import with_spin_orbit

        hamiltonian = with_spin_orbit(hamiltonian)
    return hamiltonian, kpoints


def compute_spectrum(
    hamiltonian: Hamiltonian,
    config: DosConfig,
    solver: Solver = "dense",
    memory: int | None = None,
    kept: Pieces | None = None,
) -> Spectrum:
    """Compute eigenvalues, Fermi level, density of states and carriers of one structure.

    Args:
        hamiltonian: H(R) and S(R).
        config: k-points, broadening, windows, carrier species.
        solver: as `choose_solver` says.
        memory: bytes that may be used; None for what is free.
        kept: where finished slices are put, and found after an interruption.

    Raises:
        DataError: if the eigenproblem or the Fermi level is ill-defined.
    """
    hamiltonian, kpoints = prepared(hamiltonian, config)
    electrons = electrons_of(hamiltonian)
    if config.window is None:
        config = whole_window(config, [hamiltonian])
    assert config.window is not None
    energy = energy_grid(config.window, config.points)
    groups = asked_groups(hamiltonian, config)
    if solver == "dense":
        eigenvalues = solve(
            hamiltonian, kpoints, projection=config.projection, with_members=True, groups=groups
        )
        listed = (float(eigenvalues.energies.min()), float(eigenvalues.energies.max()))
        certificate = Certificate(
            "dense", "lapack", listed, eigenvalues.energies.size, np.nan, np.nan
        )
        fermi = fermi_level_of(hamiltonian, eigenvalues, config)
        density = projected_dos(eigenvalues, energy + fermi, config.width)
        deviation = None
    else:
        found = SlicedSolver(
            hamiltonian,
            kpoints,
            engine=None if config.engine == "auto" else config.engine,
            memory=free_memory() if memory is None else memory,
            projection=config.projection,
            groups=groups,
            kept=kept,
        )
        windows = [config.carrier_window]
        if solver != "kpm":
            windows += [config.window, *([config.states] if config.states else [])]
        eigenvalues, fermi, certificate = certified_eigenvalues(found, hamiltonian, config, windows)
        if solver == "kpm":
            density, deviation = kernel_polynomial_dos(
                found, energy + fermi, config.width, config.probes, config.seed
            )
            certificate = replace(certificate, solver="kpm")
        else:
            density = projected_dos(eigenvalues, energy + fermi, config.width)
            deviation = None
    edges = refined_edges(hamiltonian, eigenvalues, electrons)
    scalars = {
        "n_electrons": electrons,
        **edge_scalars(edges),
        **carrier_scalars(hamiltonian, eigenvalues, fermi, config),
    }
    if edges.direct is not None and hamiltonian.atoms.pbc.any():
        scalars["gap_is_direct"] = float(edges.direct)
    deviations, by_members = scalar_uncertainties(
        hamiltonian, eigenvalues, edges, fermi, config, solver
    )
    scalars |= {name + UNCERTAINTY: value for name, value in deviations.items()}
    if by_members is not None:
        deviation = by_members if deviation is None else np.hypot(deviation, by_members)
    weights = eigenvalues.weights
    local: dict[str, LocalDensities] = {
        name: local_densities(
            eigenvalues,
            weights[name],
            groups[name],
            energy,
            fermi,
            config.width,
            config.edge_threshold,
        )
        for name in ("groups", "positions")
        if name in groups
    }
    states = None
    if config.states is not None:
        states = list_states(eigenvalues, weights["atoms"], fermi, config.states, config.smearing)
    eigenvalues = replace(eigenvalues, weights={})  # many, and used
    return Spectrum(eigenvalues, density, scalars, certificate, deviation, local, states)
