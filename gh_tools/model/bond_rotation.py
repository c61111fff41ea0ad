"""Features of pairs, rotated into the frame of their bond and sorted by the order m there."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.orbitals.bond_frame import bond_angles, multiples, rotation_about_x

Rotated = list[Float[Array, "..."]]


class Components(NamedTuple):
    """The order of harmonics whose reverse exchanges m and -m, which is what `rotate_azimuth` relies on.

    By m, and there by l, which ascends for m > 0 and descends for m < 0: component c of n is (l, m) where component
    n - 1 - c is (l, -m).

    Attributes:
        degree: of each component.
        m: of each component.
        orbital_order: where it stands in the order of orbitals.
        rows: for each degree, where its components stand, by m.
    """

    degree: Int[np.ndarray, " lm"]
    m: Int[np.ndarray, " lm"]
    orbital_order: Int[np.ndarray, " lm"]
    rows: list[dict[int, int]]


@lru_cache(maxsize=8)
def components(max_degree: int) -> Components:
    """Return the order of components up to a degree."""
    degrees = np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)
    m = np.arange(len(degrees)) - degrees * (degrees + 1)
    orbital_order = np.lexsort((degrees * np.where(m < 0, -1, 1), m))
    rows: list[dict[int, int]] = [{} for _ in range(max_degree + 1)]
    for row, index in enumerate(orbital_order.tolist()):
        rows[degrees[index]][int(m[index])] = row
    return Components(degrees[orbital_order], m[orbital_order], orbital_order, rows)


class BondRotation(NamedTuple):
    """The rotations of features into the frames in which each pair's vector is along +z.

    The rotation is one about z by -φ, which takes the component m to itself times `cosine` plus that of -m
    times `sine`, and one about y by -θ. The latter leaves the mirror plane y -> -y alone, so that only
    elements of equally signed m, and m = 0, do not vanish.

    Attributes:
        cosine: cos(mφ) of each component.
        sine: sin(mφ), signed as above.
        polar: elements of the rotation by -θ that do not vanish, as :func:`_polar_elements` counts them.
    """

    cosine: Float[Array, "lm 1 pairs"]
    sine: Float[Array, "lm 1 pairs"]
    polar: Float[Array, "elements pairs"]


def bond_rotations(vector: Float[Array, "pairs 3"], max_degree: int) -> BondRotation:
    """Return the rotations into the frames of bonds, Ry(-θ) Rz(-φ) for polar angle θ and azimuth φ.

    Args:
        vector: from the first to the second atom of each pair, in Å.
        max_degree: largest degree.
    """
    azimuth, polar = bond_angles(vector, jnp)
    m = components(max_degree).m
    cosine, sine = (part.T for part in multiples(*azimuth, max_degree, jnp))
    sign = jnp.asarray(np.sign(m)[:, None], vector.dtype)
    # Of minus the polar angle: sin(top·), … sin(1·), cos(0·), … cos(top·).
    cosines, sines = (part.T for part in multiples(polar[0], -polar[1], max_degree, jnp))
    constants = jnp.asarray(_polar_elements(max_degree)[1], vector.dtype)
    return BondRotation(
        cosine[np.abs(m), None],
        (sine[np.abs(m)] * sign)[:, None],
        constants @ jnp.concatenate([sines[:0:-1], cosines]),
    )


@lru_cache(maxsize=8)
def _polar_elements(
    max_degree: int,
) -> tuple[dict[tuple[int, int, int], int], Float[np.ndarray, "elements products"]]:
    """Return elements of rotations about y by minus an angle, as sums of sines and cosines of its multiples.

    A rotation about y is one about z between two rotations by 90° about x.

    Returns:
        The index of (degree, new m, old m), and the sums' coefficients.
    """
    index: dict[tuple[int, int, int], int] = {}
    coefficients: list[np.ndarray] = []
    for degree in range(max_degree + 1):
        m, n = np.arange(-degree, degree + 1), 2 * degree + 1
        # A rotation about z by α: component m takes cos(mα) of itself and, of -m, sin(mα) with a sign.
        about_z = np.zeros((n, n, 2 * max_degree + 1))
        about_z[degree + m, degree + m, max_degree + abs(m)] = 1.0
        about_z[degree + m, degree - m, max_degree - abs(m)] -= np.sign(m)
        about_x = rotation_about_x(degree)
        table = np.einsum("mr,mna,nk->rka", about_x, about_z, about_x)
        for new in m.tolist():
            for old in m.tolist():
                if (new < 0) == (old < 0):
                    index[degree, new, old] = len(coefficients)
                    coefficients.append(table[degree + new, degree + old])
    return index, np.array(coefficients)


def rotate_to_bond_frame(
    features: Float[Array, "swap lm features pairs"],
    weights: Float[Array, "swap degrees features pairs"],
    rotations: BondRotation,
    n_tensors: int,
    max_order: int,
) -> Rotated:
    """Return features in the frame of their bond, each degree times a weight, sorted by the order m.

    A rotation by α about the bond multiplies c + is by exp(imα), where (c, s) are the components (m, -m) of
    a tensor, or (-s, c) of a pseudotensor: in this form a mirror plane through the bond conjugates
    both, and real weights may mix them.

    Pairs come last and all else is written out, because that compiles to few loops over adjacent
    numbers; gradients are written likewise, where those of slices would be sums of padded arrays. Some
    arrays are stacked because that is a fusion barrier to the compiler.

    Args:
        features: in the structure's axes, in the order of :func:`components`.
        weights: of each degree.
        rotations: of the pairs, up to the same degree.
        n_tensors: so many of the features are tensors, and the others pseudotensors.
        max_order: largest m that is needed.

    Returns:
        For m = 0 the c of tensors, [swap, degrees·tensors, pairs], and the s of pseudotensors, whose
        degrees begin with 1; then for each m > 0 an array [swap, degrees·features, 2, pairs] of c and
        s. Degrees begin with m.
    """
    rotated = rotate_azimuth(features, weights, rotations.cosine, rotations.sine)
    return rotate_polar(rotated, rotations.polar, n_tensors, max_order)


@jax.custom_vjp
def rotate_azimuth(
    features: Float[Array, "swap lm features pairs"],
    weights: Float[Array, "swap degrees features pairs"],
    cosine: Float[Array, "lm 1 pairs"],
    sine: Float[Array, "lm 1 pairs"],
) -> Float[Array, "swap lm features pairs"]:
    """Return features rotated about z by minus the azimuth and weighed by degree: w_l (cos(mφ) x_lm + sin(mφ) x_l,-m).

    The component -m stands where `components` has it: in the reversed order. The gradient is written by hand, because that of
    slices would be sums of padded arrays.

    Args:
        features: x, in the order of `components`.
        weights: w of each degree.
        cosine: cos(mφ), see `BondRotation`.
        sine: sin(mφ).
    """
    return _broadcast(weights) * (cosine * features + sine * features[:, ::-1])


def _broadcast(weights):
    """Give each component what its degree has."""
    of_degree = _split(weights, 1)
    return jnp.concatenate(
        [of_degree[degree] for degree in components(len(of_degree) - 1).degree], axis=1
    )


def _split(array, axis):
    """Divide an array into slices that keep the axis: one operation, where indices are many."""
    return jax.lax.split(array, [1] * array.shape[axis], axis)


def _azimuth_backward(kept, cotangent):
    features, weights, cosine, sine = kept
    product = _split(cotangent * (cosine * features + sine * features[:, ::-1]), 1)
    rows = components(weights.shape[1] - 1).rows
    of_weights = [sum(product[row] for row in places.values()) for places in rows]
    cotangent = cotangent * _broadcast(weights)
    # Sums and differences apart, and then joined: a fusion barrier.
    of_features = [
        cosine * part + (sine * part)[:, ::-1] for part in jnp.split(cotangent, len(cotangent))
    ]
    # Left out of the program where nobody asks for them, as in training.
    of_cosine = (cotangent * features).sum((0, 2))[:, None]
    of_sine = (cotangent * features[:, ::-1]).sum((0, 2))[:, None]
    return (
        jnp.concatenate(of_features),
        jnp.concatenate(of_weights, axis=1),
        of_cosine,
        of_sine,
    )


rotate_azimuth.defvjp(lambda *arguments: (rotate_azimuth(*arguments), arguments), _azimuth_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def rotate_polar(
    features: Float[Array, "swap lm features pairs"],
    polar: Float[Array, "elements pairs"],
    n_tensors: int,
    max_order: int,
) -> Rotated:
    """Return features rotated about y by minus the polar angle, sorted as :func:`rotate_to_bond_frame` says.

    Args:
        features: in the order of `components`.
        polar: elements of the rotation, see `BondRotation`.
        n_tensors: number of features that are tensors, before the pseudotensors.
        max_order: largest |m| that is kept.
    """
    max_degree = round(features.shape[1] ** 0.5) - 1
    degrees = range(max_degree + 1)
    index, _ = _polar_elements(max_degree)
    rows = components(max_degree).rows
    elements, features = _split(polar, 0), _split(features, 1)
    rotated = {
        (degree, m): sum(
            elements[index[degree, m, k]] * features[row]
            for k, row in rows[degree].items()
            if (degree, m, k) in index
        )[:, 0]
        for degree in degrees
        for m in range(-min(degree, max_order), min(degree, max_order) + 1)
    }
    tensors = {key: part[:, :n_tensors] for key, part in rotated.items()}
    pseudotensors = {key: part[:, n_tensors:] for key, part in rotated.items()}
    out = [
        jnp.concatenate([tensors[degree, 0] for degree in degrees], axis=1),
        jnp.concatenate([pseudotensors[degree, 0] for degree in degrees[1:]], axis=1),
    ]
    for m in range(1, max_order + 1):
        c, s = [], []
        for degree in degrees[m:]:
            c += [tensors[degree, m], -pseudotensors[degree, -m]]
            s += [tensors[degree, -m], pseudotensors[degree, m]]
        out.append(jnp.stack([jnp.concatenate(part, axis=1) for part in (c, s)], axis=2))
    return out


def _polar_backward(n_tensors, max_order, kept, cotangents):
    features, polar = kept
    n_swaps, n_components, n_features, n_pairs = features.shape
    max_degree = round(n_components**0.5) - 1
    index, _ = _polar_elements(max_degree)
    table = components(max_degree)
    # Cotangents of the rotated components, by degree and m.
    rotated = {}
    even = jax.lax.split(cotangents[0], [n_tensors] * (max_degree + 1), 1)
    odd = jax.lax.split(cotangents[1], [n_features - n_tensors] * max_degree, 1)
    odd = [jnp.zeros((n_swaps, n_features - n_tensors, n_pairs), features.dtype), *odd]
    for degree in range(max_degree + 1):
        rotated[degree, 0] = jnp.concatenate([even[degree], odd[degree]], axis=1)
    is_tensor = (np.arange(n_features) < n_tensors)[:, None]
    for m, cotangent in enumerate(cotangents[2:], start=1):
        sizes = [n_features] * (max_degree + 1 - m)
        parts = [jax.lax.split(cotangent[:, :, part], sizes, 1) for part in (0, 1)]
        for degree, (c, s) in enumerate(zip(*parts, strict=True), start=m):
            rotated[degree, m] = jnp.where(is_tensor, c, s)
            rotated[degree, -m] = jnp.where(is_tensor, s, -c)

    elements, of_features = _split(polar, 0), []
    for degree, k in zip(table.degree.tolist(), table.m.tolist(), strict=True):
        terms = [
            elements[index[degree, m, k]] * rotated[degree, m]
            for m in table.rows[degree]
            if (degree, m, k) in index and (degree, m) in rotated
        ]
        of_features.append(sum(terms) if terms else jnp.zeros_like(rotated[0, 0]))
    # Left out of the program where nobody asks for it, as in training.
    of_polar = [
        (rotated[degree, m] * features[:, table.rows[degree][k]]).sum((0, 1))
        if (degree, m) in rotated
        else jnp.zeros_like(polar[0])
        for degree, m, k in index
    ]
    return jnp.stack(of_features, axis=1), jnp.stack(of_polar)


rotate_polar.defvjp(
    lambda features, polar, *static: (rotate_polar(features, polar, *static), (features, polar)),
    _polar_backward,
)
