"""The cycle begins with the density of a Hamiltonian: of the converged one, it has nothing left to do."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule

from gh_tools.dft import scf
from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.orbitals.pairs import wrapped

# Of a step: its number, the time, the energy, that eigenstates are exact, and the change.
CHANGE = re.compile(r"^iter: +\d+ \S+ +\S+ +c +(-?\d+\.\d+)", re.MULTILINE)


def changes(log):
    """Return log10 of the changes of the density, from the second step on."""
    return [float(found) for found in CHANGE.findall(log)]


@pytest.mark.parametrize("name", ["wse2", "gold", "hafnia", "water", "rotated-water", "oxygen"])
def test_the_density_of_a_converged_hamiltonian_is_the_converged_one(case, name, tmp_path):
    """In single precision, for spins, in a box, at Γ alone and at many points, of atoms outside of the cell."""
    known = case(name)
    atoms = wrapped(known.atoms)
    basis = basis_table(known.config, atoms.numbers)
    file = tmp_path / "gpaw.txt"
    again = scf.run(atoms, known.config, basis, file, known.hamiltonian)
    # As far as the run that gave H was converged: less than 1e-4. The density of free atoms changes by 0.1.
    assert changes(file.read_text())[0] < -3.5
    assert again.dft.scf_loop.niter == 3  # the least that shows that the energy stays
    energy = known.calculator.results["energy"]
    assert again.results["energy"] == pytest.approx(energy, abs=1e-3)


def changed(hamiltonian, field, change):
    """Return a copy with other blocks."""
    onsite, pairs = (
        {k: replace(b, **{field: change(getattr(b, field))}) for k, b in blocks.items()}
        for blocks in (hamiltonian.onsite, hamiltonian.pairs)
    )
    return replace(hamiltonian, onsite=onsite, pairs=pairs)


def test_where_it_begins_does_not_matter_for_what_comes_out(case, tmp_path):
    """From on-site energies of one element that are off by 1 eV, far more than those of a model."""
    known = case("wse2")
    atoms = wrapped(known.atoms)
    basis = basis_table(known.config, atoms.numbers)
    tungsten = known.hamiltonian.onsite[74]
    shifted = replace(tungsten, hamiltonian=tungsten.hamiltonian + tungsten.overlap)
    poor = replace(known.hamiltonian, onsite={**known.hamiltonian.onsite, 74: shifted})
    file = tmp_path / "gpaw.txt"
    found = scf.label_structure(atoms, known.config, basis, file, poor)
    assert changes(file.read_text())[0] > -2
    for key, blocks in known.hamiltonian.onsite.items():
        # What convergence of the density to 1e-4 leaves: 0.1 meV on average.
        difference = np.abs(found.onsite[key].hamiltonian - blocks.hamiltonian)
        assert difference.mean() < 5e-4


def test_a_run_that_does_not_converge_from_there_begins_from_atoms(tmp_path):
    config = LabelConfig(h=0.3, vacuum=3.0)
    atoms = molecule("LiF")
    basis = basis_table(config, atoms.numbers)
    labels = scf.label_structure(atoms, config, basis, tmp_path / "atoms.txt")
    steps = len(changes((tmp_path / "atoms.txt").read_text())) + 1
    brief = config.model_copy(update={"max_iterations": steps})
    # All energies upside down.
    start = changed(labels, "hamiltonian", np.negative)
    with pytest.raises(scf.SCFNotConverged):
        scf.run(wrapped(atoms), brief, basis, tmp_path / "start.txt", start)
    again = scf.label_structure(atoms, brief, basis, tmp_path / "again.txt", start)
    assert again.scalars["energy"] == pytest.approx(labels.scalars["energy"], abs=1e-6)


def test_h_beside_another_overlap_is_not_begun_from(case, tmp_path, caplog):
    """As of labels from which far pairs were dropped."""
    known = case("wse2")
    atoms = wrapped(known.atoms)
    basis = basis_table(known.config, atoms.numbers)
    other = changed(known.hamiltonian, "overlap", lambda s: 1.01 * s)
    caplog.set_level("WARNING", "gh_tools")
    again = scf.run(atoms, known.config, basis, tmp_path / "gpaw.txt", other)
    assert "the cycle begins from the density of free atoms" in caplog.text
    assert changes((tmp_path / "gpaw.txt").read_text())[0] > -2
    energy = known.calculator.results["energy"]
    assert again.results["energy"] == pytest.approx(energy, abs=1e-6)
