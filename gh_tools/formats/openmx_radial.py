"""Radial functions of OpenMX: .pao files of a species' primitive orbitals."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase.units import Bohr
from scipy.interpolate import CubicSpline

from gh_tools.errors import DataError

_STEP = 0.005  # Bohr, of the even table that a logarithmic one becomes


def read_pao(file: Path, degrees: Sequence[int]) -> tuple[tuple[float, ...], str]:
    """Read the first functions of each l, as many as the basis has, such as two of l = 0 for s2.

    Args:
        file: of the species, such as ``Si7.0.pao``.
        degrees: l of the shells.

    Returns:
        Radius in Å of each shell, and the text of the functions (`gh_tools.overlap.radial`).

    Raises:
        DataError: it is none, or holds fewer functions.
    """
    text = file.read_text()
    cutoff = re.search(r"(?m)^\s*radial\.cutoff\.pao\s+([\d.]+)", text)
    if cutoff is None:
        raise DataError(f"{file.name}: expected radial.cutoff.pao, found none")
    end = float(cutoff[1])
    grid = np.arange(0, end + _STEP / 2, _STEP)
    taken: dict[int, int] = {}
    functions = []
    for degree in degrees:
        place = taken[degree] = taken.get(degree, -1) + 1
        name = f"pseudo.atomic.orbitals.L={degree}"
        block = re.search(rf"<{re.escape(name)}\s*\n(.*?){re.escape(name)}>", text, re.S)
        if block is None:
            raise DataError(f"{file.name}: expected <{name}, found none")
        table = np.array([line.split() for line in block[1].strip().splitlines()], dtype=float)
        if table.shape[1] < 3 + place:
            raise DataError(f"{file.name}: expected {place + 1} functions of l = {degree}")
        # Columns: logarithm of r, r, the functions. Below the first r a function goes as r^l.
        r, values = table[:, 1], table[:, 2 + place]
        spline = CubicSpline(r, values)
        even = spline(np.clip(grid, r[0], r[-1]))
        inside = grid < r[0]
        even[inside] = values[0] * (grid[inside] / r[0]) ** degree
        even[grid > r[-1]] = 0.0
        functions.append({"l": degree, "step": _STEP * Bohr, "values": even.tolist()})
    return (end * Bohr,) * len(functions), json.dumps(functions)
