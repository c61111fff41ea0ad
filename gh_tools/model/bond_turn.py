"""Features of pairs, turned into the frame of their bond and sorted by the order m there."""

from __future__ import annotations

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gh_tools.model.rearrange import exchange
from gh_tools.orbitals.bond_frame import bond_angles, multiples, quarter_turn


def turn_to_bond(
    tensors: Float[Array, "lm pairs ..."],
    pseudotensors: Float[Array, "lm pairs ..."],
    vector: Float[Array, "pairs 3"],
    max_order: int,
) -> list[tuple[Float[Array, "..."], Float[Array, "..."]]]:
    """Turn features into the frame where each pair's vector is along +z.

    A turn by α about the bond multiplies c + is by exp(imα), where (c, s) are the components (m, -m) of
    a tensor, or (-s, c) of a pseudotensor: in this form a mirror plane through the bond conjugates
    both, and real weights may mix them.

    Args:
        tensors: in the structure's axes; components first, so that constant matrices act by one product.
        pseudotensors: likewise.
        vector: from the first to the second atom of each pair, in Å.
        max_order: largest m that is needed.

    Returns:
        For each m: of tensors and of pseudotensors, arrays [2, degrees from m, pairs, ...] of c
        and s. For m = 0 there is no such axis: c of tensors, and s of pseudotensors.
    """
    max_degree = round(len(tensors) ** 0.5) - 1
    (cos_phi, sin_phi), (cos_theta, sin_theta) = bond_angles(vector, jnp)
    azimuth = multiples(cos_phi, -sin_phi, max_degree, jnp)
    polar = multiples(cos_theta, -sin_theta, max_degree, jnp)
    quarter, to_tensors, to_pseudotensors = _matrices(max_degree, max_order)
    rows = []
    for features, last in ((tensors, to_tensors), (pseudotensors, to_pseudotensors)):
        turned = jnp.tensordot(quarter.astype(features.dtype), _turn_z(features, *azimuth), 1)
        turned = _turn_z(turned, *polar)
        rows.append(jnp.tensordot(last.astype(features.dtype), turned, 1))

    parts, start = [tuple(part[: max_degree + 1] for part in rows)], max_degree + 1
    for m in range(1, max_order + 1):
        stop = start + 2 * (max_degree + 1 - m)
        parts.append(tuple(p[start:stop].reshape(2, -1, *p.shape[1:]) for p in rows))
        start = stop
    return parts


def _turn_z(features, cosines, sines):
    """Turn about z: component m takes cos(mα) of itself and, of -m, sin(mα) with a sign."""
    max_degree = cosines.shape[-1] - 1
    m = np.concatenate([np.arange(-degree, degree + 1) for degree in range(max_degree + 1)])
    opposite = np.arange(len(m)) - 2 * m
    shape = (len(m), -1) + (1,) * (features.ndim - 2)
    stay = cosines.T[abs(m)].reshape(shape)
    cross = (-np.sign(m).astype(features.dtype)[:, None] * sines.T[abs(m)]).reshape(shape)
    return features * stay + exchange(features, opposite) * cross


@lru_cache(maxsize=8)
def _matrices(max_degree: int, max_order: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The quarter turn, and its inverse with rows sorted by m, c and s, degree."""
    size = (max_degree + 1) ** 2
    quarter = np.zeros((size, size))
    for degree in range(max_degree + 1):
        block = slice(degree**2, (degree + 1) ** 2)
        quarter[block, block] = quarter_turn(degree)
    tensors, pseudotensors, sign = [], [], []
    for m in range(max_order + 1):
        for component in (m, -m) if m else (0,):
            degrees = np.arange(m, max_degree + 1)
            tensors.append(degrees**2 + degrees + component)
            pseudotensors.append(degrees**2 + degrees - component)
            sign.append(np.full(len(degrees), -1.0 if component > 0 else 1.0))
    back = quarter.T
    to_pseudotensors = np.concatenate(sign)[:, None] * back[np.concatenate(pseudotensors)]
    return quarter, back[np.concatenate(tensors)], to_pseudotensors
