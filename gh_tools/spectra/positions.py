"""Where atoms lie along a direction: coordinates across lattice planes, layers, and bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ase
import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from gh_tools.errors import DataError

Direction = Literal["x", "y", "z", "a", "b", "c"]

# Part of a lattice vector's length that may lie along a direction that it is perpendicular to: strain and rounding.
_PERPENDICULAR = 1e-4
# Standard deviations beyond which nothing of a Gaussian is left, to 1e-15.
_REACH = 8.0
# Standard deviations of a Gaussian that bins go beyond the outermost atoms where nothing is periodic.
_BEYOND = 4.0


@dataclass(frozen=True)
class Line:
    """A direction, and where the atoms lie along it.

    Attributes:
        direction: its name.
        coordinate: of each atom, Å; periodic ones without a cut through matter: counted from the widest gap.
        period: after which it repeats, Å; None where it does not.
    """

    direction: str
    coordinate: Float[np.ndarray, " atoms"]
    period: float | None

    @property
    def start(self) -> float:
        """Lower end of a period, in the middle of the widest gap, in Å."""
        assert self.period is not None
        low, high = self.coordinate.min(), self.coordinate.max()
        return float(low - 0.5 * (self.period - (high - low)))


def along(atoms: ase.Atoms, direction: Direction) -> Line:
    """Return the coordinates of atoms along a direction.

    Those of a, b or c are heights above the plane of the other two cell vectors; those of x, y and z are Cartesian.

    Args:
        atoms: the structure.
        direction: Cartesian, or of a lattice vector.

    Raises:
        DataError: planes across a Cartesian direction are not planes of the lattice, so that the structure does not
            repeat along it.
    """
    cell = atoms.cell.complete().array
    if direction in "abc":
        index = "abc".index(direction)
        normal = np.cross(cell[index - 2], cell[index - 1])
        normal /= np.linalg.norm(normal) * np.sign(normal @ cell[index])
        period = float(normal @ cell[index]) if atoms.pbc[index] else None
    else:
        normal = np.eye(3)["xyz".index(direction)]
        lengths = cell @ normal
        inclined = np.abs(lengths) > _PERPENDICULAR * np.linalg.norm(cell, axis=1)
        inclined &= atoms.pbc
        if inclined.sum() > 1:
            found = ", ".join(name for name, one in zip("abc", inclined, strict=True) if one)
            raise DataError(
                f"along {direction}: the periodic vectors {found} all have a component along {direction}, so that "
                "planes across it are none of the lattice; ask for a, b or c"
            )
        period = float(abs(lengths[inclined][0])) if inclined.any() else None
    coordinate = atoms.positions @ normal
    if period is not None:
        coordinate = _from_widest_gap(coordinate, period)
    return Line(direction, coordinate, period)


def stacking(atoms: ase.Atoms) -> Direction:
    """Return the direction in which a structure is likely to have layers.

    That is the one without a period where exactly one is without, else c.
    """
    missing = np.flatnonzero(~atoms.pbc)
    return ("a", "b", "c")[int(missing[0])] if len(missing) == 1 else "c"


def layers(line: Line, gap: float) -> list[Int[np.ndarray, " _atoms"]]:
    """Return the atoms of each layer, in the order of their coordinates.

    A layer ends where the next atom along the direction is further than `gap` away. Where nothing is, there is one.

    Args:
        line: where the atoms are.
        gap: Å.
    """
    order = np.argsort(line.coordinate, kind="stable")
    ends = np.flatnonzero(np.diff(line.coordinate[order]) > gap) + 1
    return [np.sort(part) for part in np.split(order, ends)]


def bins(
    line: Line, spacing: float, width: float
) -> tuple[Float[np.ndarray, " bins"], float, Float[np.ndarray, "bins atoms"]]:
    """Return bins along a direction, and how much of each atom belongs to each.

    An atom is a Gaussian about its coordinate, of which a bin has the part that lies in it. Periodic images are added,
    and the parts of an atom add up to one.

    Args:
        line: where the atoms are.
        spacing: of the bins at most, Å.
        width: standard deviation of the Gaussian, Å.

    Returns:
        Middles of the bins in Å, their spacing in Å, and the parts.
    """
    if line.period is not None:
        low, length = line.start, line.period
        images = np.arange(-1, 2) if length > 2 * _REACH * width else _images(length, width)
    else:
        beyond = _BEYOND * width
        low = float(line.coordinate.min()) - beyond
        length, images = float(np.ptp(line.coordinate)) + 2 * beyond, np.zeros(1)
    count = max(1, int(np.ceil(length / spacing - 1e-9)))
    edges = low + length * np.arange(count + 1) / count
    parts = np.zeros((count, len(line.coordinate)))
    for image in images:
        shifted = line.coordinate + image * (line.period or 0.0)
        parts += np.diff(ndtr((edges[:, None] - shifted) / width), axis=0)
    parts[parts < 1e-12] = 0.0
    return 0.5 * (edges[1:] + edges[:-1]), length / count, parts / parts.sum(axis=0)


def _images(period: float, width: float) -> Int[np.ndarray, " images"]:
    most = int(np.ceil(_REACH * width / period)) + 1
    return np.arange(-most, most + 1)


def _from_widest_gap(
    coordinate: Float[np.ndarray, " atoms"], period: float
) -> Float[np.ndarray, " atoms"]:
    """Return periodic coordinates in one period that begins in the widest gap between atoms."""
    coordinate = coordinate % period
    ordered = np.sort(coordinate)
    gaps = np.diff(ordered, append=ordered[0] + period)
    # The one about the cell's boundary is preferred, so that rounding moves nothing.
    gaps[-1] += 1e-6
    widest = int(np.argmax(gaps))
    if widest == len(gaps) - 1:
        return coordinate
    return np.where(coordinate > ordered[widest], coordinate - period, coordinate)
