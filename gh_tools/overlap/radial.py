"""Two-centre functions of S from the radial functions of the orbitals, where a program's files hold them."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
from ase.units import Bohr
from jaxtyping import Float
from scipy.integrate import simpson
from scipy.special import sph_harm_y, spherical_jn

from gh_tools.orbitals.basis import Basis, ElementBasis, SpeciesPair
from gh_tools.orbitals.irreps import Irreps
from gh_tools.orbitals.order import clebsch_gordan
from gh_tools.overlap.functions import two_centre_components

# Å: closer atoms do not occur; between distances that are computed splines interpolate.
R_MIN, STEP = 0.3, 0.03
# 1/Bohr: orbitals have no larger wave vectors; as many points as functions of this reach need.
_Q_MAX, _PER_PERIOD = 30.0, 8


def knows_radial_functions(basis: Basis) -> bool:
    """Tell whether the table has radial functions of all its elements."""
    return all(element.code and element.basis_text for element in basis.elements.values())


def two_centre_functions(
    basis: Basis, pair: SpeciesPair, irreps: Irreps
) -> tuple[Float[np.ndarray, " distances"], Float[np.ndarray, "distances functions"]]:
    """Compute the functions of a species pair by Fourier and Bessel transforms.

    ⟨a,0|b,R⟩ = 4π Σ_L i^(la-lb-L) Y_L(R) G(la,lb,L) ∫ q² φ_a(q) φ_b(q) j_L(qR) dq, with Gaunt coefficients G and
    φ(q) = √(2/π) ∫ r² φ(r) j_l(qr) dr: O. F. Sankey and D. J. Niklewski, Phys. Rev. B 40, 3979 (1989).

    Args:
        basis: the table, whose elements have radial functions.
        pair: the elements.
        irreps: of the pair's blocks.

    Returns:
        Distances in Å, and a column for each of `two_centre_components`.
    """
    reach = basis.pair_range(*pair)
    distance = np.arange(R_MIN, reach + STEP, STEP)
    spacing = 2 * np.pi / (_PER_PERIOD * reach / Bohr)
    q = np.arange(0.0, _Q_MAX, spacing)
    first, second = (_transforms(basis[z], q) for z in pair)
    bessel: dict[int, np.ndarray] = {}
    columns = []
    for component in two_centre_components(irreps).tolist():
        a, b = int(irreps.shell_a[component]), int(irreps.shell_b[component])
        la, lb = basis[pair[0]].degrees[a], basis[pair[1]].degrees[b]
        degree = int(irreps.l[component])
        if degree not in bessel:
            bessel[degree] = spherical_jn(degree, np.outer(distance / Bohr, q))
        integral = simpson(q**2 * first[a] * second[b] * bessel[degree], x=q, axis=1)
        sign = (-1) ** ((la - lb - degree) // 2)
        along = np.sqrt((2 * degree + 1) / (4 * np.pi))  # Y_L0 in the direction of the bond
        columns.append(4 * np.pi * sign * along * _gaunt(la, lb, degree) * integral)
    values = np.stack(columns, axis=1)
    values[distance > reach] = 0.0
    return distance, values


def _transforms(element: ElementBasis, q: np.ndarray) -> list[np.ndarray]:
    found = []
    for function in json.loads(element.basis_text):
        values = np.array(function["values"])
        r = function["step"] / Bohr * np.arange(len(values))
        kernel = spherical_jn(function["l"], np.outer(q, r))
        found.append(np.sqrt(2 / np.pi) * simpson(kernel * (r**2 * values), x=r, axis=1))
    return found


@lru_cache(maxsize=256)
def _gaunt(la: int, lb: int, degree: int) -> float:
    """Return Σ C(ma,mb,0) ∫ Y_a Y_b Y_L0: the Gaunt coefficients over those of Clebsch and Gordan."""
    top = la + lb + degree + 2
    cosine, weight = np.polynomial.legendre.leggauss(top)
    phi = 2 * np.pi * np.arange(2 * top) / (2 * top)
    theta = np.arccos(cosine)[:, None]
    measure = weight[:, None] * np.pi / top

    def harmonics(degree: int) -> np.ndarray:
        rows = []
        for m in range(-degree, degree + 1):
            y = sph_harm_y(degree, abs(m), theta, phi[None, :]) * (-1.0) ** m
            rows.append(y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag))
        return np.stack(rows)

    third = harmonics(degree)[degree]
    table = np.einsum("atp,btp,tp->ab", harmonics(la), harmonics(lb), third * measure)
    return float(np.sum(table * clebsch_gordan(la, lb)[degree][:, :, degree]))
