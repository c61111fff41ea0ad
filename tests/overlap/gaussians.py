"""Labels whose S is known in closed form: Gaussian s functions and their derivatives, p functions.

With g the s function of exponent a at A and at B, ⟨g|g⟩ = exp(-a R²/2) =: s(R), R = B - A. The p functions are the
derivatives of g by its centre over √a, so that ⟨g|p_B⟩ = ∇s/√a, ⟨p_A|g⟩ = -∇s/√a, ⟨p_A|p_B⟩ = -∇∇s/a.
"""

import ase
import numpy as np
from ase.build import bulk

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from gh_tools.orbitals.pairs import stored_pairs, wrapped

EXPONENT = 1.0  # 1/Å²: s(5.5 Å) = 3e-7
REACH = 2.9
ENERGY = np.array([-9.0, -4.0, -4.0, -4.0])  # eV
P_ORDER = [1, 2, 0]  # y, z, x


def gaussian_overlap(vector, exponent=EXPONENT):
    """S of s and p at both atoms, [pairs, 4, 4]."""
    s = np.exp(-exponent / 2 * np.einsum("pc,pc->p", vector, vector))
    gradient = -exponent * vector * s[:, None]
    outer = vector[:, :, None] * vector[:, None, :]
    hessian = (exponent**2 * outer - exponent * np.eye(3)) * s[:, None, None]
    found = np.empty((len(vector), 4, 4))
    found[:, 0, 0] = s
    found[:, 0, 1:] = gradient[:, P_ORDER] / np.sqrt(exponent)
    found[:, 1:, 0] = -gradient[:, P_ORDER] / np.sqrt(exponent)
    found[:, 1:, 1:] = -hessian[:, P_ORDER][:, :, P_ORDER] / exponent
    return found


def gaussian_label(atoms, code="a program", n_valence=4.0, spins=1):
    """H of Wolfsberg and Helmholz's kind, with on-site energies that depend on the neighbours, and S."""
    atoms = wrapped(atoms)
    basis = Basis({14: ElementBasis(14, (Shell(0, REACH), Shell(1, REACH)), n_valence, code=code)})
    pairs = stored_pairs(atoms, {(14, 14): 2 * REACH})[14, 14]
    i, j, cell_offset, vector = pairs
    s = gaussian_overlap(vector)
    near = np.exp(-np.linalg.norm(vector, axis=1))
    field = np.zeros(len(atoms))
    np.add.at(field, i, near)
    np.add.at(field, j, near)
    every = np.arange(len(atoms))
    energy = ENERGY + field[:, None]

    def hamiltonian(overlap, a, b, factor):
        mean = 0.5 * (energy[a][:, :, None] + energy[b][:, None, :])
        h = factor * mean * overlap
        return h if spins == 1 else np.stack([h, 1.01 * h])

    eye = np.repeat(np.eye(4)[None], len(atoms), axis=0)
    return Hamiltonian(
        atoms,
        basis,
        {14: OnsiteBlocks(every, hamiltonian(eye, every, every, 1.0), eye)},
        {(14, 14): PairBlocks(i, j, cell_offset, hamiltonian(s, i, j, 1.75), s)},
        {"fermi_level": -6.0, "n_electrons": n_valence * len(atoms)},
    )


def silicon(repeat=(1, 1, 1), seed=0, rattle=0.08) -> ase.Atoms:
    """Rattled and strained silicon: 8 atoms, times the repetition."""
    random = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True) * repeat
    atoms.set_cell(atoms.cell.array * (1 + 0.02 * random.normal()), scale_atoms=True)
    atoms.positions += rattle * random.normal(size=atoms.positions.shape)
    return atoms
