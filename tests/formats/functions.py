"""Orbitals of programs as functions of space, and H and S of Gaussian orbitals in closed form.

What programs call px or d(xy) is written here as it is in their manuals, so that the order and the signs of their
orbitals do not come from the tables that they test.
"""

from functools import cache
from typing import NamedTuple

import ase
import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

EXPRESSIONS = {
    "s": lambda x, y, z: 1 + 0 * x,
    "x": lambda x, y, z: x,
    "y": lambda x, y, z: y,
    "z": lambda x, y, z: z,
    "3z2-r2": lambda x, y, z: 2 * z**2 - x**2 - y**2,
    "x2-y2": lambda x, y, z: x**2 - y**2,
    "xy": lambda x, y, z: x * y,
    "xz": lambda x, y, z: x * z,
    "yz": lambda x, y, z: y * z,
    "z(5z2-3r2)": lambda x, y, z: z * (2 * z**2 - 3 * x**2 - 3 * y**2),
    "x(5z2-r2)": lambda x, y, z: x * (4 * z**2 - x**2 - y**2),
    "y(5z2-r2)": lambda x, y, z: y * (4 * z**2 - x**2 - y**2),
    "z(x2-y2)": lambda x, y, z: z * (x**2 - y**2),
    "xyz": lambda x, y, z: x * y * z,
    "x(x2-3y2)": lambda x, y, z: x * (x**2 - 3 * y**2),
    "y(3x2-y2)": lambda x, y, z: y * (3 * x**2 - y**2),
}
# The functions of the shells s, p, d and f, in each program's order
PROGRAMS = {
    "openmx": (
        "s",
        "x y z",
        "3z2-r2 x2-y2 xy xz yz",
        "z(5z2-3r2) x(5z2-r2) y(5z2-r2) z(x2-y2) xyz x(x2-3y2) y(3x2-y2)",
    ),
    "abacus": (
        "s",
        "z -x -y",
        "3z2-r2 -xz -yz x2-y2 xy",
        "z(5z2-3r2) -x(5z2-r2) -y(5z2-r2) z(x2-y2) xyz -x(x2-3y2) -y(3x2-y2)",
    ),
    "siesta": (
        "s",
        "-y z -x",
        "xy -yz 3z2-r2 -xz x2-y2",
        "-y(3x2-y2) xyz -y(5z2-r2) z(5z2-3r2) -x(5z2-r2) z(x2-y2) -x(x2-3y2)",
    ),
    "fhi-aims": (
        "s",
        "y z -x",
        "xy yz 3z2-r2 -xz x2-y2",
        "y(3x2-y2) xyz y(5z2-r2) z(5z2-3r2) -x(5z2-r2) z(x2-y2) -x(x2-3y2)",
    ),
}


def functions(program, degree, points):
    """Values of a shell's functions, normalised on the sphere, [functions, points]; times r^l away from it."""
    if program == "gh-tools":
        return _ours(degree, points)
    rows = []
    for name in PROGRAMS[program][degree].split():
        sign, name = (-1, name[1:]) if name.startswith("-") else (1, name)
        norm = np.sqrt(np.mean(EXPRESSIONS[name](*_SPHERE.T) ** 2 @ _WEIGHT))
        rows.append(sign * EXPRESSIONS[name](*points.T) / norm)
    return np.array(rows) / np.sqrt(4 * np.pi)


def _ours(degree, points):
    """Real harmonics without a sign, m from -l to l: √2 (-1)^m Re Y_lm and √2 (-1)^m Im Y_l|m|, times r^l."""
    r = np.linalg.norm(points, axis=1)
    theta = np.arccos(np.divide(points[:, 2], r, where=r > 0, out=np.ones_like(r)))
    phi = np.arctan2(points[:, 1], points[:, 0])
    rows = []
    for m in range(-degree, degree + 1):
        y = sph_harm_y(degree, abs(m), theta, phi) * (-1.0) ** m
        rows.append(y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag))
    return np.array(rows) * r**degree


def _sphere():
    """Points and weights of the mean over the sphere, exact for products of f functions."""
    cosine, weight = np.polynomial.legendre.leggauss(6)
    phi = 2 * np.pi * (np.arange(12) + 0.3) / 12
    sine = np.sqrt(1 - cosine**2)
    points = np.stack(
        np.broadcast_arrays(
            sine[:, None] * np.cos(phi), sine[:, None] * np.sin(phi), cosine[:, None] + 0 * phi
        ),
        axis=-1,
    )
    return points.reshape(-1, 3), np.repeat(weight / 24, 12)


_SPHERE, _WEIGHT = _sphere()


def places_and_signs(program, degree):
    """For each of a program's functions: which of ours it is, and the sign."""
    overlap = 4 * np.pi * functions(program, degree, _SPHERE) * _WEIGHT
    overlap = overlap @ functions("gh-tools", degree, _SPHERE).T
    assert np.allclose(np.abs(overlap).sum(axis=1), 1)  # each is one of ours
    place = np.abs(overlap).argmax(axis=1)
    return place, np.rint(overlap[np.arange(len(place)), place])


class Dense(NamedTuple):
    """A structure's matrices in some program's order.

    Attributes:
        atoms: the structure.
        shells: l of the shells of each element, in the program's order.
        valence: electrons of the neutral atoms, by element.
        fermi: level in eV.
        cells: R of each matrix, both of R and -R.
        s: S(R).
        spins: H(R) of each spin, eV.
    """

    atoms: ase.Atoms
    shells: dict[int, tuple[int, ...]]
    valence: dict[int, float]
    fermi: float
    cells: np.ndarray
    s: np.ndarray
    spins: list[np.ndarray]

    def ptr(self):
        """First orbital of each atom, and the end."""
        counts = [sum(2 * degree + 1 for degree in self.shells[z]) for z in self.atoms.numbers]
        return np.concatenate([[0], np.cumsum(counts)])

    def at(self, k):
        """H(k) of the first spin, and S(k)."""
        phase = np.exp(2j * np.pi * (self.cells @ k))
        return np.einsum("c,cab->ab", phase, self.spins[0]), np.einsum("c,cab->ab", phase, self.s)


# Elements, with one shell of each l at most: exponents in 1/Å², and the depths of their potentials in eV
SHELLS = {6: (1, 0), 42: (0, 2, 1, 3)}
EXPONENT = {6: 0.9, 42: 1.1}
DEPTH = {6: 7.0, 42: 11.0}
_FAR = 4.3  # Å: pairs farther apart have S below 1e-3, and are left out


def structure():
    """Two C and two Mo in a skew cell, in a frame that no symmetry holds."""
    cell = np.array([[4.1, 0.2, 0.0], [1.3, 4.4, 0.3], [-0.4, 0.5, 4.8]])
    scaled = np.array([[0.05, 0.1, 0.9], [0.45, 0.55, 0.35], [0.02, 0.6, 0.2], [0.5, 0.9, 0.6]])
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    return ase.Atoms("C2Mo2", scaled @ cell @ rotation.T, cell=cell @ rotation.T, pbc=True)


@cache
def gaussians(program, ascending=False):
    """S, and H of attractive Gaussian potentials at all atoms, of `structure`.

    Gauss-Hermite quadrature is exact for polynomials times Gaussians.

    Args:
        program: whose functions the orbitals are.
        ascending: order shells by l.
    """
    atoms = structure()
    shells = {z: tuple(sorted(found)) if ascending else found for z, found in SHELLS.items()}
    node, weight = np.polynomial.hermite.hermgauss(4)  # exact to x^7; f times f has x^6
    nodes = np.stack(np.meshgrid(node, node, node, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.einsum("a,b,c->abc", weight, weight, weight).ravel()
    grid = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = atoms.positions[None] + (grid @ atoms.cell.array)[:, None]
    start = Dense(atoms, shells, {}, 0.0, grid, grid, []).ptr()
    s, h = np.zeros((2, len(grid), start[-1], start[-1]))

    def integral(centres, exponents, a, b):
        """∫ of a product of Gaussians, and of functions about the first two centres."""
        total = sum(exponents)
        middle = sum(e * c for e, c in zip(exponents, centres, strict=True)) / total
        height = np.exp(
            sum(-e * np.sum((c - middle) ** 2) for e, c in zip(exponents, centres, strict=True))
        )
        points = middle + nodes / np.sqrt(total)
        left, right = (
            np.concatenate(
                [functions(program, degree, points - centres[n]) for degree in shells[z]]
            )
            for n, z in enumerate((a, b))
        )
        return height * total**-1.5 * (left * weights) @ right.T

    numbers = atoms.numbers.tolist()
    norm = {z: np.diag(integral(np.zeros((2, 3)), [EXPONENT[z]] * 2, z, z)) ** -0.5 for z in shells}
    for i, a in enumerate(numbers):
        for c in range(len(grid)):
            for j, b in enumerate(numbers):
                here, there = atoms.positions[i], images[c, j]
                if np.linalg.norm(there - here) > _FAR:
                    continue
                where = c, slice(*start[i : i + 2]), slice(*start[j : j + 2])
                both = np.outer(norm[a], norm[b])
                pair = [EXPONENT[a], EXPONENT[b]]
                s[where] = both * integral([here, there], pair, a, b)
                for site, z in enumerate(numbers):
                    for centre in images[:, site]:
                        if np.linalg.norm(centre - 0.5 * (here + there)) < 2.5:
                            found = integral([here, there, centre], [*pair, 0.5], a, b)
                            h[where] -= DEPTH[z] * both * found
    keep = np.abs(s).max(axis=(1, 2)) > 0
    return Dense(atoms, shells, {6: 4.0, 42: 6.0}, -1.25, grid[keep], s[keep], [h[keep]])
