"""Features of pairs, turned into the frame of their bond and sorted by the order m there."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.orbitals.bond_frame import bond_angles, multiples, quarter_turn

# Of degrees 1, 2, …: each [2l + 1, 2l + 1, pairs].
Rotation = list[Float[Array, "new old pairs"]]
Turned = list[Float[Array, "..."]]


def bond_rotation(vector: Float[Array, "pairs 3"], max_degree: int) -> Rotation:
    """Rotation matrices of harmonics into the frame where each pair's vector is along +z.

    D = Qᵀ Z(-θ) Q Z(-φ), with constant quarter turns Q and turns Z about z by the polar angle and the
    azimuth, is linear in the products of the sines and cosines of multiples of θ and of φ: one
    constant matrix takes these to all elements of D.

    Args:
        vector: from the first to the second atom of each pair, in Å.
        max_degree: largest degree.

    Returns:
        Matrices of degrees 1 to ``max_degree``.
    """
    azimuth, polar = bond_angles(vector, jnp)
    products = (
        _sines_and_cosines(*polar, max_degree)[:, None]
        * _sines_and_cosines(*azimuth, max_degree)[None]
    )
    constants = jnp.asarray(_rotation_constants(max_degree), vector.dtype)
    elements = constants @ products.reshape(constants.shape[1], -1)
    widths = [2 * degree + 1 for degree in range(1, max_degree + 1)]
    parts = jax.lax.split(elements, [width**2 for width in widths])
    return [part.reshape(width, width, -1) for part, width in zip(parts, widths, strict=True)]


def _sines_and_cosines(cosine, sine, top: int):
    """Of multiples of minus an angle: sin(top·), … sin(1·), cos(0·), … cos(top·)."""
    cosines, sines = multiples(cosine, -sine, top, jnp)
    return jnp.concatenate([sines[:, :0:-1], cosines], axis=1).T


@lru_cache(maxsize=8)
def _rotation_constants(max_degree: int) -> Float[np.ndarray, "elements products"]:
    tables = []
    for degree in range(1, max_degree + 1):
        m, n = np.arange(-degree, degree + 1), 2 * degree + 1
        # A turn about z by α: component m takes cos(mα) of itself and, of -m, sin(mα) with a sign.
        turn = np.zeros((n, n, 2 * max_degree + 1))
        turn[degree + m, degree + m, max_degree + abs(m)] = 1.0
        turn[degree + m, degree - m, max_degree - abs(m)] -= np.sign(m)
        quarter = quarter_turn(degree)
        table = np.einsum("mr,mna,nk,kcb->rcab", quarter, turn, quarter, turn, optimize=True)
        tables.append(table.reshape(n * n, -1))
    return np.concatenate(tables)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def turn_to_bond(
    rotation: Rotation,
    features: Float[Array, "swap lm features pairs"],
    n_tensors: int,
    max_order: int,
) -> Turned:
    """Turn features into the frame of their bond.

    A turn by α about the bond multiplies c + is by exp(imα), where (c, s) are the components (m, -m) of
    a tensor, or (-s, c) of a pseudotensor: in this form a mirror plane through the bond conjugates
    both, and real weights may mix them.

    Pairs come last and all else is written out, because that compiles to few loops over adjacent
    numbers; the gradient is written likewise, where that of slices would be a sum of padded arrays.

    Args:
        rotation: what :func:`bond_rotation` gives.
        features: in the structure's axes.
        n_tensors: so many of the features are tensors, and the others pseudotensors.
        max_order: largest m that is needed.

    Returns:
        For m = 0 the c of tensors, [swap, degrees·tensors, pairs], and the s of pseudotensors, whose
        degrees begin with 1; then for each m > 0 an array [swap, degrees·features, 2, pairs] of c and
        s. Degrees begin with m.
    """
    tensors, pseudotensors = slice(None, n_tensors), slice(n_tensors, None)

    def component(degree, m, kind):
        of_degree = features[:, degree**2 : (degree + 1) ** 2, kind]
        if degree == 0:
            return of_degree[:, 0]
        row = rotation[degree - 1][degree + m]
        return sum(row[k] * of_degree[:, k] for k in range(2 * degree + 1))

    degrees = range(len(rotation) + 1)
    out = [
        jnp.concatenate([component(degree, 0, kind) for degree in degrees[start:]], axis=1)
        for start, kind in enumerate((tensors, pseudotensors))
    ]
    for m in range(1, max_order + 1):
        c, s = [], []
        for degree in degrees[m:]:
            c += [component(degree, m, tensors), -component(degree, -m, pseudotensors)]
            s += [component(degree, -m, tensors), component(degree, m, pseudotensors)]
        out.append(jnp.stack([jnp.concatenate(part, axis=1) for part in (c, s)], axis=2))
    return out


def _forward(rotation, features, n_tensors, max_order):
    return turn_to_bond(rotation, features, n_tensors, max_order), (rotation, features)


def _backward(n_tensors, max_order, kept, slopes):
    rotation, features = kept
    n_features = features.shape[2]
    n_pseudo = n_features - n_tensors

    def rows(degree):
        """Slopes of the turned components of one degree, by m."""
        even = slopes[0][:, degree * n_tensors : (degree + 1) * n_tensors]
        if degree == 0:
            odd = jnp.zeros((len(even), n_pseudo, even.shape[-1]), even.dtype)
        else:
            odd = slopes[1][:, (degree - 1) * n_pseudo : degree * n_pseudo]
        found = {0: jnp.concatenate([even, odd], axis=1)}
        for m in range(1, min(degree, max_order) + 1):
            start = (degree - m) * n_features
            both = slopes[m + 1][:, start : start + n_features]
            c, s = both[:, :, 0], both[:, :, 1]
            found[m] = jnp.concatenate([c[:, :n_tensors], s[:, n_tensors:]], axis=1)
            found[-m] = jnp.concatenate([s[:, :n_tensors], -c[:, n_tensors:]], axis=1)
        return found

    of_features, of_rotation = [rows(0)[0][:, None]], []
    for degree, matrix in enumerate(rotation, start=1):
        found = rows(degree)
        of_features.append(
            sum(matrix[degree + m][:, None] * slope[:, None] for m, slope in found.items())
        )
        block = features[:, degree**2 : (degree + 1) ** 2]
        # Left out of the program where nobody asks for it, as in training.
        of_rotation.append(
            jnp.stack(
                [
                    (found[m][:, None] * block).sum((0, 2))
                    if m in found
                    else jnp.zeros_like(matrix[0])
                    for m in range(-degree, degree + 1)
                ]
            )
        )
    return of_rotation, jnp.concatenate(of_features, axis=1)


turn_to_bond.defvjp(_forward, _backward)
