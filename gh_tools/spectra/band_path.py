"""Paths of k-points between special points, named by the Bravais lattice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import ase
import numpy as np
from ase.dft.kpoints import BandPath, parse_path_string
from jaxtyping import Float, Int

from gh_tools.errors import UsageError
from gh_tools.spectra.lattice import EXACT, NamedLattice, named_lattices
from gh_tools.spectra.primitive import supercell_matrix


@dataclass(frozen=True)
class NamedPath:
    """K-points along a path, and the lattice whose special points it joins.

    Attributes:
        path: the k-points, in units of the given cell's reciprocal vectors.
        lattice: long name of the lattice that the names refer to, as ``face-centred cubic``.
        strain: largest principal strain between the primitive cell and the nearest one of this lattice, a fraction.
        supercell: the cell's vectors in units of those of the primitive cell whose lattice it is, as rows.
    """

    path: BandPath
    lattice: str
    strain: float
    supercell: Int[np.ndarray, "3 3"]

    @property
    def primitive_cells(self) -> int:
        """Number of primitive cells in the cell."""
        return abs(round(float(np.linalg.det(self.supercell))))

    @property
    def points(self) -> dict[str, list[float]]:
        """Coordinates of the points that the path joins, by name, in order."""
        names = (name for part in parse_path_string(self.path.path) for name in part)
        return {name: self.path.special_points[name].tolist() for name in dict.fromkeys(names)}

    def describe(self, unfolded: bool = False) -> list[str]:
        """Return the lattice, and each point with its coordinates, as lines for a person.

        Args:
            unfolded: whether bands are, so that none lie folded onto others.
        """
        off = (
            f", from which the cell is {100 * self.strain:.2g} % off" if self.strain > EXACT else ""
        )
        lines = [f"letters of the {self.lattice} lattice{off}"]
        if self.primitive_cells > 1 and not unfolded:
            lines.append(
                f"the path is that of the primitive cell, of which the cell holds {self.primitive_cells}: its bands lie "
                "folded onto one another, and --unfold tells them apart"
            )
        for name, point in self.points.items():
            # Rounding leaves 1e-16 where there is zero.
            numbers = ", ".join(f"{round(value, 9) + 0.0:.5g}" for value in point)
            lines.append(f"  {'Γ' if name == 'G' else name} = ({numbers})")
        return lines


def band_path(
    atoms: ase.Atoms,
    path: str | None = None,
    points: int | None = 200,
    supercell: Int[np.ndarray, "3 3"] | None = None,
) -> NamedPath:
    """Return k-points along a path between points of high symmetry.

    Names are those of the most symmetric lattice that the primitive cell has within a strain of 3 %, by the
    conventions of ASE (Setyawan and Curtarolo, Comp. Mater. Sci. 49, 299 (2010)). Which cell is primitive,
    `supercell_matrix` says: a supercell has the path of what it repeats, also where atoms are displaced or missing. If it has no point of one of
    the names, they are those of the next that has all, up to a strain of 10 %; see `named_lattices`.

    Args:
        atoms: structure with at least one periodic direction.
        path: names of the points, such as ``GMKG``, or None for the standard path of the lattice.
        points: number of k-points. With None they are the points that the path joins, and all between them that fold onto Γ
            of the cell, a supercell.
        supercell: the cell's vectors in units of those of the primitive cell, if that is known.

    Raises:
        UsageError: if nothing is periodic, or no lattice has points of all names.
    """
    if not atoms.pbc.any():
        raise UsageError(
            "the structure is not periodic: it has eigenvalues, but no bands; see gh-dos"
        )
    if supercell is None:
        supercell = supercell_matrix(atoms)
    primitive = ase.Atoms(cell=np.linalg.solve(supercell, atoms.cell.array), pbc=atoms.pbc)
    lattices = named_lattices(primitive)
    if not lattices:
        raise UsageError("the cell has no Bravais lattice whose points have names; reduce it first")
    cell = atoms.cell.uncomplete(atoms.pbc)
    if path is None:
        path = lattices[0].lattice.special_path
    parts = parse_path_string(re.sub(r"\s", "", path).replace("Γ", "G"))
    if any(len(part) < 2 or any(a == b for a, b in pairwise(part)) for part in parts):
        raise UsageError(
            f"--path {path!r}: expected two points or more in each part, all other than the one before, "
            f"such as GX; the cell has {_known(lattices)}"
        )
    names = {name for part in parts for name in part}
    chosen = next((known for known in lattices if names <= known.points.keys()), None)
    if chosen is None:
        raise UsageError(f"--path {path}: expected {_known(lattices)}")
    joined = ",".join("".join(part) for part in parts)
    # A point is Σ k_j b_j of the primitive cell, and b_j the sum over i of M_ij times b_i of the cell.
    special = {name: supercell @ point for name, point in chosen.points.items()}
    if points is None:
        kpoints = _folding_onto_gamma(parts, special)
        made = BandPath(cell, kpts=kpoints, path=joined, special_points=special)
    else:
        made = BandPath(cell, path=joined, special_points=special).interpolate(npoints=points)
    return NamedPath(made, chosen.lattice.longname, chosen.strain, supercell)


def _folding_onto_gamma(
    parts: list[list[str]], special: Mapping[str, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "points 3"]:
    """Return the ends of a path's lines, and the points of whole coordinates between them."""
    found: list[np.ndarray] = []
    for part in parts:
        found.append(special[part[0]])
        for start, end in pairwise(special[name] for name in part):
            along = int(np.argmax(np.abs(end - start)))
            low, high = sorted((start[along], end[along]))
            whole = np.arange(np.ceil(low - EXACT), np.floor(high + EXACT) + 1)
            places = np.sort((whole - start[along]) / (end - start)[along])
            between = start + places[:, None] * (end - start)
            inside = (places > EXACT) & (places < 1 - EXACT)
            inside &= np.abs(between - np.round(between)).max(axis=1) < EXACT
            found += [*np.round(between[inside]), end]
    return np.array(found)


def _known(lattices: list[NamedLattice]) -> str:
    """Say which points a cell's lattices have."""
    return ", or ".join(
        f"points of the {known.lattice.longname} lattice: {', '.join(known.points)}"
        for known in lattices
    )


def joined_labels(
    ticks: Float[np.ndarray, " ticks"], names: list[str]
) -> tuple[tuple[float, str], ...]:
    """Merge the two names of a point where the path jumps, and write Γ for G."""
    joined: list[tuple[float, str]] = []
    for tick, name in zip(ticks.tolist(), names, strict=True):
        name = "Γ" if name == "G" else name
        if joined and abs(joined[-1][0] - tick) < 1e-9:
            joined[-1] = (tick, f"{joined[-1][1]}|{name}")
        else:
            joined.append((tick, name))
    return tuple(joined)
