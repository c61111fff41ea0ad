"""Division of a structure's atoms into compact domains, each of bounded weight."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Num


def divide(
    positions: Float[np.ndarray, "atoms 3"], weight: Num[np.ndarray, " atoms"], limit: float
) -> list[Int[np.ndarray, " _part"]]:
    """Divide atoms into domains by bisection across the longest side, so that their halos are small.

    Args:
        positions: of the atoms.
        weight: of each atom.
        limit: largest sum of weights of a domain; one atom may exceed it.

    Returns:
        The atoms of each domain, ascending. The order of domains follows space.
    """
    waiting, domains = [np.arange(len(positions))], []
    while waiting:
        domain = waiting.pop()
        total = weight[domain].sum()
        if total <= limit or len(domain) == 1:
            domains.append(np.sort(domain))
            continue
        axis = np.argmax(np.ptp(positions[domain], axis=0))
        domain = domain[np.argsort(positions[domain, axis], kind="stable")]
        # As many parts as it takes, of equal weight: halves of halves would be up to twice too small.
        parts = int(np.ceil(total / limit))
        share = (parts // 2) / parts
        cut = int(np.searchsorted(np.cumsum(weight[domain]), share * total, side="right"))
        cut = min(max(cut, 1), len(domain) - 1)
        waiting += [domain[cut:], domain[:cut]]
    return domains
