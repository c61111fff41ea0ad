"""Which site of a primitive cell, and in which of its cells, each atom of a supercell is."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import DataError
from gh_tools.orbitals.pairs import directed_pairs

# Å, and over the shortest distance of two atoms: how far from its site an atom may be.
_FAR = 1.0
_OF_BOND = 0.45
# Of the primitive cells, the part in which there must be an atom on a site: more than half of them.
_OCCUPIED = 0.5
# Atoms from which the origin of a given primitive cell is sought.
_ORIGINS = 60
# How far a supercell's vectors may be from sums of those of a primitive cell, in units of these.
_STRAINED = 0.2


@dataclass(frozen=True)
class Sites:
    """Where the atoms of a supercell are in the primitive cells that it repeats.

    Attributes:
        site: of each atom; an atom that is on none of the primitive cell's sites has a number of its own.
        translation: primitive lattice vector of each atom's cell, in units of the supercell's vectors.
        cells: number N of primitive cells.
        sites: number of sites of the primitive cell, which have the lowest numbers.
        vacant: sites of the supercell without an atom.
        substituted: atoms of other species than most on their site.
        beside: atoms that are on no site: interstitials, adsorbates, a substrate.
    """

    site: Int[np.ndarray, " atoms"]
    translation: Float[np.ndarray, "atoms 3"]
    cells: int
    sites: int
    vacant: int
    substituted: int
    beside: int

    def describe(self) -> str:
        """Return the number of cells and sites, and what is amiss, as a sentence for a person."""
        amiss = [
            f"{count} {text}"
            for count, text in (
                (self.vacant, "vacant"),
                (self.substituted, "with atoms of another element"),
            )
            if count
        ]
        text = f"{self.cells} primitive cells of {self.sites} sites"
        if amiss:
            text += f", of which {' and '.join(amiss)}"
        if self.beside:
            text += f"; {self.beside} atoms on no site, whose weight is the same at all k"
        return text


def find_sites(
    atoms: ase.Atoms, supercell: Int[np.ndarray, "3 3"], primitive: ase.Atoms | None = None
) -> Sites:
    """Find the site of each atom of a supercell.

    Atoms are moved into one primitive cell, where those of a site differ by their displacements alone; a site is a
    place where there is an atom in more than half of the primitive cells, of whatever species. In each cell a site
    has one atom, the nearest. Strain does not matter, because the primitive vectors are those of the supercell.

    Args:
        atoms: the supercell, positions wrapped into the cell.
        supercell: its vectors in units of the primitive ones, as rows.
        primitive: a primitive cell whose atoms are the sites, up to a translation; without it they are found.

    Raises:
        DataError: there is no site.
    """
    cell = atoms.cell.complete().array
    vectors = np.linalg.solve(supercell, cell)
    n_cells = abs(round(float(np.linalg.det(supercell))))
    reach = min(_FAR, _OF_BOND * _shortest_distance(atoms))
    folded = _Folded(atoms.positions @ np.linalg.inv(vectors), vectors, atoms.pbc, supercell)
    if primitive is None:
        centres = _found_centres(folded, reach, n_cells)
    else:
        centres = _given_centres(atoms, folded, primitive, reach)
    site = np.full(len(atoms), -1)
    steps = np.zeros((len(atoms), 3), dtype=np.int64)
    sites = 0
    for centre in centres:
        free = np.flatnonzero(site < 0)
        members, step = folded.members(centre, free, reach)
        if len(members) > _OCCUPIED * n_cells:
            site[members], steps[members] = sites, step
            sites += 1
    if sites == 0:
        raise DataError(
            f"unfolding: no site of the primitive cell has an atom in more than half of the {n_cells} cells; give the "
            "matrix, or a file with the primitive cell, that belongs to this structure"
        )
    on = site >= 0
    site[~on] = sites + np.arange(np.count_nonzero(~on))
    substituted = 0
    for one in range(sites):
        numbers = atoms.numbers[site == one]
        substituted += len(numbers) - np.bincount(numbers).max()
    return Sites(
        site,
        steps @ np.linalg.inv(supercell),
        n_cells,
        sites,
        sites * n_cells - int(on.sum()),
        int(substituted),
        int(np.count_nonzero(~on)),
    )


class _Folded:
    """Atoms in units of the primitive vectors, and how far they are from a place in any of the primitive cells."""

    def __init__(self, fractions, vectors, pbc, supercell) -> None:
        self.fractions: Float[np.ndarray, "atoms 3"] = fractions
        self.vectors: Float[np.ndarray, "3 3"] = vectors
        self.pbc = pbc
        self.inverse = np.linalg.inv(supercell)

    def apart(
        self, centre: Float[np.ndarray, "3"], which: Int[np.ndarray, " m"]
    ) -> tuple[Int[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]]:
        """Return the primitive lattice vector that takes a place nearest to each atom, and the rest in Å."""
        difference = self.fractions[which] - centre
        steps = np.where(self.pbc, np.rint(difference), 0.0)
        return steps.astype(np.int64), (difference - steps) @ self.vectors

    def members(
        self, centre: Float[np.ndarray, "3"], which: Int[np.ndarray, " m"], reach: float
    ) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "n 3"]]:
        """Return the atoms near a place, one a primitive cell, and their lattice vectors."""
        steps, rest = self.apart(centre, which)
        distance = np.linalg.norm(rest, axis=1)
        near = np.flatnonzero(distance < reach)
        near = near[np.argsort(distance[near], kind="stable")]
        # Cells that differ by a vector of the supercell are the same one.
        within = steps[near] @ self.inverse
        within = np.rint((within - np.floor(within + 1e-6)) * 1e6).astype(np.int64)
        _, first = np.unique(within, axis=0, return_index=True)
        chosen = near[np.sort(first)]
        return which[chosen], steps[chosen]

    def centred(
        self, centre: Float[np.ndarray, "3"], which: Int[np.ndarray, " m"], reach: float
    ) -> Float[np.ndarray, "3"]:
        """Return the mean place of the atoms near a place, to which it has moved."""
        for _ in range(3):
            _, rest = self.apart(centre, which)
            near = np.linalg.norm(rest, axis=1) < reach
            if near.any():
                centre = centre + rest[near].mean(axis=0) @ np.linalg.inv(self.vectors)
        return centre


def _found_centres(folded: _Folded, reach: float, n_cells: int) -> list[Float[np.ndarray, "3"]]:
    left = np.arange(len(folded.fractions))
    centres = []
    while len(left):
        centre = folded.centred(folded.fractions[left[0]], left, reach)
        members, _ = folded.members(centre, left, reach)
        if len(members) > _OCCUPIED * n_cells:
            centres.append(centre)
            left = np.setdiff1d(left, members)
        else:
            left = left[1:]
    return centres


def _given_centres(
    atoms: ase.Atoms, folded: _Folded, primitive: ase.Atoms, reach: float
) -> list[Float[np.ndarray, "3"]]:
    """Return the sites of a primitive cell where most of them meet an atom of their species."""
    periodic = _repeated(atoms, primitive)
    given = primitive.cell.array[periodic]
    along = primitive.positions @ np.linalg.pinv(given)
    # In a strained supercell components along periodic vectors stay what they are, and the height does.
    places = along @ folded.vectors[periodic] + primitive.positions - along @ given
    sites = places @ np.linalg.inv(folded.vectors)
    species, counts = np.unique(primitive.numbers, return_counts=True)
    known = np.isin(atoms.numbers, species)
    if not set(species.tolist()) <= set(atoms.numbers.tolist()):
        raise DataError("unfolding: the primitive cell has elements that the structure has not")
    rarest = species[np.argmin(counts)]
    of = np.flatnonzero(atoms.numbers == rarest)
    of = of[np.linspace(0, len(of) - 1, min(_ORIGINS, len(of)), dtype=int)]
    best, most = np.zeros(3), -1
    for atom in of:
        origin = folded.fractions[atom] - sites[primitive.numbers == rarest][0]
        met = 0
        for z, site in zip(primitive.numbers, sites + origin, strict=True):
            alike = np.flatnonzero(known & (atoms.numbers == z))
            met += len(folded.members(site, alike, reach)[0])
        if met > most:
            best, most = origin, met
    every = np.flatnonzero(known)
    return [folded.centred(site + best, every, reach) for site in sites]


def supercell_of(atoms: ase.Atoms, primitive: ase.Atoms) -> Int[np.ndarray, "3 3"]:
    """Return a structure's vectors in units of those of a given primitive cell, as rows of integers.

    Where the primitive cell is not periodic, as a layer's across it, its vector is that of the structure.

    Raises:
        DataError: they are no sums of these.
    """
    matrix = np.eye(3, dtype=np.int64)
    periodic = _repeated(atoms, primitive)
    given = primitive.cell.array[periodic]
    if not len(periodic) or np.linalg.matrix_rank(given) < len(periodic):
        raise DataError("unfolding: the primitive cell lacks vectors along periodic directions")
    found = atoms.cell.array[periodic] @ np.linalg.pinv(given)
    whole = np.rint(found)
    off = np.abs(found - whole).max(initial=0.0)
    outside = atoms.cell.array[periodic] - found @ given
    if (
        off > _STRAINED
        or round(float(np.linalg.det(whole))) == 0
        or (np.linalg.norm(outside, axis=1) > 0.1 * atoms.cell.lengths()[periodic]).any()
    ):
        raise DataError(
            f"unfolding: the structure's vectors in units of the primitive cell's are {found.round(3).tolist()}, "
            "expected whole numbers; give a primitive cell of this orientation and size (a layer's as one that is not periodic across "
            "it: gh-build --set pbc=[true,true,false]), or the matrix"
        )
    matrix[np.ix_(periodic, periodic)] = whole
    return matrix


def _repeated(atoms: ase.Atoms, primitive: ase.Atoms) -> Int[np.ndarray, " directions"]:
    """Return the directions in which a structure may repeat a primitive cell: a layer in a stack is repeated in its plane.

    A file that says of no direction that it is periodic says nothing.
    """
    known = primitive.pbc if primitive.pbc.any() else np.ones(3, dtype=bool)
    return np.flatnonzero(atoms.pbc & known)


def _shortest_distance(atoms: ase.Atoms) -> float:
    vectors = directed_pairs(atoms, 3.0)[3]
    return float(np.linalg.norm(vectors, axis=1).min(initial=3.0))
