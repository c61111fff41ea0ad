"""Features of pairs, turned into the frame of their bond and sorted by the order m there."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gh_tools.orbitals.bond_frame import bond_angles, multiples, quarter_turn

Turned = list[Float[Array, "..."]]


class Components(NamedTuple):
    """The order of harmonics in which a turn about z reverses them.

    By m, and there by l, which ascends for m > 0 and descends for m < 0, so that the components m and
    -m of a degree stand equally far from the two ends.

    Attributes:
        degree: of each component.
        m: of each component.
        usual: where it stands in the order of orbitals.
        rows: for each degree, where its components stand, by m.
    """

    degree: Int[np.ndarray, " lm"]
    m: Int[np.ndarray, " lm"]
    usual: Int[np.ndarray, " lm"]
    rows: list[dict[int, int]]


@lru_cache(maxsize=8)
def components(max_degree: int) -> Components:
    """Return the order of components up to a degree."""
    degrees = np.repeat(np.arange(max_degree + 1), 2 * np.arange(max_degree + 1) + 1)
    m = np.arange(len(degrees)) - degrees * (degrees + 1)
    usual = np.lexsort((degrees * np.where(m < 0, -1, 1), m))
    rows: list[dict[int, int]] = [{} for _ in range(max_degree + 1)]
    for row, index in enumerate(usual.tolist()):
        rows[degrees[index]][int(m[index])] = row
    return Components(degrees[usual], m[usual], usual, rows)


class BondAngles(NamedTuple):
    """What turns features into the frame where each pair's vector is along +z.

    The turn is one about z by -φ, which takes the component m to itself times `cosine` plus that of -m
    times `sine`, and one about y by -θ. The latter leaves the mirror plane y -> -y alone, so that only
    elements of equally signed m, and m = 0, do not vanish: they stand in `polar` as
    :func:`_polar_elements` counts them.
    """

    cosine: Float[Array, "lm 1 pairs"]
    sine: Float[Array, "lm 1 pairs"]
    polar: Float[Array, "elements pairs"]


def bond_turns(vector: Float[Array, "pairs 3"], max_degree: int) -> BondAngles:
    """Evaluate the turns of pairs.

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
    return BondAngles(
        cosine[np.abs(m), None],
        (sine[np.abs(m)] * sign)[:, None],
        constants @ jnp.concatenate([sines[:0:-1], cosines]),
    )


@lru_cache(maxsize=8)
def _polar_elements(
    max_degree: int,
) -> tuple[dict[tuple[int, int, int], int], Float[np.ndarray, "elements products"]]:
    """Elements of turns about y by minus an angle, as sums of sines and cosines of its multiples.

    A turn about y is one about z between two quarter turns about x.

    Returns:
        The index of (degree, new m, old m), and the sums' coefficients.
    """
    index, coefficients = {}, []
    for degree in range(max_degree + 1):
        m, n = np.arange(-degree, degree + 1), 2 * degree + 1
        # A turn about z by α: component m takes cos(mα) of itself and, of -m, sin(mα) with a sign.
        turn = np.zeros((n, n, 2 * max_degree + 1))
        turn[degree + m, degree + m, max_degree + abs(m)] = 1.0
        turn[degree + m, degree - m, max_degree - abs(m)] -= np.sign(m)
        quarter = quarter_turn(degree)
        table = np.einsum("mr,mna,nk->rka", quarter, turn, quarter)
        for new in m.tolist():
            for old in m.tolist():
                if (new < 0) == (old < 0):
                    index[degree, new, old] = len(coefficients)
                    coefficients.append(table[degree + new, degree + old])
    return index, np.array(coefficients)


def turn_to_bond(
    features: Float[Array, "swap lm features pairs"],
    weights: Float[Array, "swap degrees features pairs"],
    turns: BondAngles,
    n_tensors: int,
    max_order: int,
) -> Turned:
    """Turn features into the frame of their bond, and weigh them.

    A turn by α about the bond multiplies c + is by exp(imα), where (c, s) are the components (m, -m) of
    a tensor, or (-s, c) of a pseudotensor: in this form a mirror plane through the bond conjugates
    both, and real weights may mix them.

    Pairs come last and all else is written out, because that compiles to few loops over adjacent
    numbers; gradients are written likewise, where those of slices would be sums of padded arrays. The
    compiler ends a loop where arrays are stacked: that is why some are.

    Args:
        features: in the structure's axes, in the order of :func:`components`.
        weights: of each degree.
        turns: of the pairs, up to the same degree.
        n_tensors: so many of the features are tensors, and the others pseudotensors.
        max_order: largest m that is needed.

    Returns:
        For m = 0 the c of tensors, [swap, degrees·tensors, pairs], and the s of pseudotensors, whose
        degrees begin with 1; then for each m > 0 an array [swap, degrees·features, 2, pairs] of c and
        s. Degrees begin with m.
    """
    turned = turn_azimuth(features, weights, turns.cosine, turns.sine)
    return turn_polar(turned, turns.polar, n_tensors, max_order)


@jax.custom_vjp
def turn_azimuth(
    features: Float[Array, "swap lm features pairs"],
    weights: Float[Array, "swap degrees features pairs"],
    cosine: Float[Array, "lm 1 pairs"],
    sine: Float[Array, "lm 1 pairs"],
) -> Float[Array, "swap lm features pairs"]:
    """Turn about z by minus the azimuth, and weigh each degree."""
    return _spread(weights) * (cosine * features + sine * features[:, ::-1])


def _spread(weights):
    """Give each component what its degree has."""
    of_degree = _split(weights, 1)
    return jnp.concatenate(
        [of_degree[degree] for degree in components(len(of_degree) - 1).degree], axis=1
    )


def _split(array, axis):
    """Divide an array into slices that keep the axis: one operation, where indices are many."""
    return jax.lax.split(array, [1] * array.shape[axis], axis)


def _azimuth_backward(kept, slope):
    features, weights, cosine, sine = kept
    product = _split(slope * (cosine * features + sine * features[:, ::-1]), 1)
    rows = components(weights.shape[1] - 1).rows
    of_weights = [sum(product[row] for row in places.values()) for places in rows]
    slope = slope * _spread(weights)
    # Sums and differences apart, and then joined: that ends the loops.
    of_features = [cosine * part + (sine * part)[:, ::-1] for part in jnp.split(slope, len(slope))]
    # Left out of the program where nobody asks for them, as in training.
    of_cosine = (slope * features).sum((0, 2))[:, None]
    of_sine = (slope * features[:, ::-1]).sum((0, 2))[:, None]
    return (
        jnp.concatenate(of_features),
        jnp.concatenate(of_weights, axis=1),
        of_cosine,
        of_sine,
    )


turn_azimuth.defvjp(lambda *arguments: (turn_azimuth(*arguments), arguments), _azimuth_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def turn_polar(
    features: Float[Array, "swap lm features pairs"],
    polar: Float[Array, "elements pairs"],
    n_tensors: int,
    max_order: int,
) -> Turned:
    """Turn about y by minus the polar angle, and sort as :func:`turn_to_bond` says."""
    max_degree = round(features.shape[1] ** 0.5) - 1
    degrees = range(max_degree + 1)
    index, _ = _polar_elements(max_degree)
    rows = components(max_degree).rows
    elements, features = _split(polar, 0), _split(features, 1)
    turned = {
        (degree, m): sum(
            elements[index[degree, m, k]] * features[row]
            for k, row in rows[degree].items()
            if (degree, m, k) in index
        )[:, 0]
        for degree in degrees
        for m in range(-min(degree, max_order), min(degree, max_order) + 1)
    }
    tensors = {key: part[:, :n_tensors] for key, part in turned.items()}
    pseudotensors = {key: part[:, n_tensors:] for key, part in turned.items()}
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


def _polar_backward(n_tensors, max_order, kept, slopes):
    features, polar = kept
    n_swaps, n_components, n_features, n_pairs = features.shape
    max_degree = round(n_components**0.5) - 1
    index, _ = _polar_elements(max_degree)
    table = components(max_degree)
    # Slopes of the turned components, by degree and m.
    turned = {}
    even = jax.lax.split(slopes[0], [n_tensors] * (max_degree + 1), 1)
    odd = jax.lax.split(slopes[1], [n_features - n_tensors] * max_degree, 1)
    odd = [jnp.zeros((n_swaps, n_features - n_tensors, n_pairs), features.dtype), *odd]
    for degree in range(max_degree + 1):
        turned[degree, 0] = jnp.concatenate([even[degree], odd[degree]], axis=1)
    is_tensor = (np.arange(n_features) < n_tensors)[:, None]
    for m, slope in enumerate(slopes[2:], start=1):
        sizes = [n_features] * (max_degree + 1 - m)
        parts = [jax.lax.split(slope[:, :, part], sizes, 1) for part in (0, 1)]
        for degree, (c, s) in enumerate(zip(*parts, strict=True), start=m):
            turned[degree, m] = jnp.where(is_tensor, c, s)
            turned[degree, -m] = jnp.where(is_tensor, s, -c)

    elements, of_features = _split(polar, 0), []
    for degree, k in zip(table.degree.tolist(), table.m.tolist(), strict=True):
        terms = [
            elements[index[degree, m, k]] * turned[degree, m]
            for m in table.rows[degree]
            if (degree, m, k) in index and (degree, m) in turned
        ]
        of_features.append(sum(terms) if terms else jnp.zeros_like(turned[0, 0]))
    # Left out of the program where nobody asks for it, as in training.
    of_polar = [
        (turned[degree, m] * features[:, table.rows[degree][k]]).sum((0, 1))
        if (degree, m) in turned
        else jnp.zeros_like(polar[0])
        for degree, m, k in index
    ]
    return jnp.stack(of_features, axis=1), jnp.stack(of_polar)


turn_polar.defvjp(
    lambda features, polar, *static: (turn_polar(features, polar, *static), (features, polar)),
    _polar_backward,
)
