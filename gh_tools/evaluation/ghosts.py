"""Where predicted eigenvalues without a counterpart come from, and what would mend them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
from ase.data import chemical_symbols
from jaxtyping import Complex, Float

from gh_tools.evaluation.eigenvalue_errors import GHOST_DISTANCE, SMEARING, WINDOW, ghosts_among
from gh_tools.evaluation.matrix_errors import matched_blocks
from gh_tools.orbitals.basis import SpeciesPair
from gh_tools.orbitals.bloch import bloch_matrices, bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.spectra.eigen import Eigenvalues
from gh_tools.spectra.fermi import fermi_level

# A block whose root mean square error is so many times that of its kind (median) is an outlier.
OUTLIER = 8.0
# A state that S gives less than this of its coefficients' square magnifies errors of H twenty times and more.
HARDLY_HELD = 0.05
# Ghosts of a structure that are traced: each takes an eigenproblem or two.
MOST = 10


@dataclass(frozen=True)
class Ghost:
    """A predicted eigenvalue that no eigenvalue of the reference is near to.

    Attributes:
        energy: eV from the reference's Fermi level.
        kpoint: in reciprocal vectors.
        spin: channel.
        held: c†S c / c†c of its eigenvector: errors of H are magnified by its inverse.
        cause: ``block``, ``overlap`` or ``many``.
        where: the block, or the element whose orbitals carry the state.
        text: the cause, and a mend, as a sentence.
    """

    energy: float
    kpoint: tuple[float, float, float]
    spin: int
    held: float
    cause: str
    where: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-like values."""
        return asdict(self)


def trace_ghosts(
    predicted: Hamiltonian,
    reference: Hamiltonian,
    eigenvalues: tuple[Eigenvalues, Eigenvalues],
    n_electrons: float,
) -> list[Ghost]:
    """Find the cause of the ghosts of one structure, the first ten of them.

    A block is the cause where its error is an outlier among those of its kind, and the ghost is gone once the block is that of
    the reference. Else it is S, where the state's c†S c is small against c†c; else many errors together.

    Args:
        predicted: H(R) and S(R); it is not changed.
        reference: of the same structure.
        eigenvalues: those of both, on the same k-points.
        n_electrons: that fill them.
    """
    mine, theirs = eigenvalues
    fermi = fermi_level(theirs, n_electrons, SMEARING)
    places = ghosts_among(mine.energies, theirs.energies, fermi, WINDOW, GHOST_DISTANCE)
    if not len(places):
        return []
    outliers = list(_outliers(predicted, reference))
    return [
        _trace(predicted, reference, theirs, outliers, fermi, *place)
        for place in places[:MOST].tolist()
    ]


def _trace(
    predicted: Hamiltonian,
    reference: Hamiltonian,
    theirs: Eigenvalues,
    outliers: list[tuple[float, int | SpeciesPair, int, str]],
    fermi: float,
    spin: int,
    k: int,
    band: int,
) -> Ghost:
    point = theirs.kpoints.points[k]
    h = bloch_matrices(predicted, point[None], "hamiltonian", spin)[0]
    s = bloch_matrices(predicted, point[None], "overlap")[0]
    energies, vectors = scipy.linalg.eigh(h, s)
    vector: Complex[np.ndarray, " n"] | Float[np.ndarray, " n"] = vectors[:, band]
    weights = np.abs(vector) ** 2
    held = float(1.0 / weights.sum())
    owner = np.repeat(predicted.atoms.numbers, predicted.orbitals_of_atoms)
    element = int(np.argmax(np.bincount(owner, weights=weights)))
    facts = (
        float(energies[band] - fermi),
        (float(point[0]), float(point[1]), float(point[2])),
        spin,
        held,
    )
    true = theirs.energies[spin, k]
    for times, key, row, name in outliers[:MOST]:
        mended = _with_block(predicted, reference, key, row)
        found = scipy.linalg.eigh(
            bloch_matrix(mended, point, "hamiltonian", spin), s, eigvals_only=True
        )
        near = np.abs(found[:, None] - true).min(axis=1) <= GHOST_DISTANCE
        around = np.abs(found - energies[band]) <= WINDOW
        if near[around].all():
            text = (
                f"the block of {name}, whose error is {times:.0f} times that of its kind; with the block of the reference there "
                "is no ghost: train on structures that have such pairs, or check the label of this one"
            )
            return Ghost(*facts, "block", name, text)
    symbol = chemical_symbols[element]
    if held < HARDLY_HELD:
        basis = predicted.basis[element].basis_name
        text = (
            f"a nearly singular S: the state, mostly on {symbol}, has c†S c of {held:.1e} c†c, so that errors of H grow "
            f"{1 / held:.0f} times: label with a more confined or smaller basis for it than {basis!r}"
        )
        return Ghost(*facts, "overlap", symbol, text)
    text = (
        f"many errors together, mostly of blocks of {symbol}: no single block is its cause, and S holds it well: train longer, "
        "or on more structures"
    )
    return Ghost(*facts, "many", symbol, text)


def _outliers(
    predicted: Hamiltonian, reference: Hamiltonian
) -> Iterator[tuple[float, int | SpeciesPair, int, str]]:
    """Yield blocks with errors beyond those of their kind: how many times, key, row among matched blocks, and name."""
    found = []
    symbols = predicted.atoms.symbols
    for key, mine, theirs, labels in matched_blocks(predicted, reference):
        if not len(labels):
            continue
        squares = (mine - theirs) ** 2
        axes = tuple(axis for axis in range(squares.ndim) if axis != squares.ndim - 3)
        error = np.sqrt(squares.mean(axis=axes))
        size = np.median(error[error > 0]) if np.any(error > 0) else 1.0
        for row in np.flatnonzero(error > OUTLIER * size).tolist():
            place = labels[row].tolist()
            names = [f"{symbols[i]} {i}" for i in place[:2]]
            if isinstance(key, int):
                name = f"{names[0]} on site"
            else:
                name = f"{names[0]} and {names[1]} in R = ({', '.join(map(str, place[2:]))})"
            found.append((float(error[row] / size), float(error[row]), key, row, name))
    for times, _, key, row, name in sorted(found, key=lambda one: -one[1]):
        yield times, key, row, name


def _with_block(
    predicted: Hamiltonian, reference: Hamiltonian, key: int | SpeciesPair, row: int
) -> Hamiltonian:
    """Return a prediction in which one block is that of the reference."""
    for other, _, theirs, labels in matched_blocks(predicted, reference):
        if other != key:
            continue
        blocks: Any
        if isinstance(key, int):
            blocks = predicted.onsite[key]
            place = np.flatnonzero(blocks.atom == labels[row][0])
        else:
            blocks = predicted.pairs[key]
            stored = np.column_stack([blocks.i, blocks.j, blocks.cell_offset])
            place = np.flatnonzero((stored == labels[row]).all(axis=1))
        h = np.array(blocks.hamiltonian, dtype=np.float64)
        h[..., place, :, :] = theirs[..., [row], :, :]
        changed = replace(blocks, hamiltonian=h)
        if isinstance(key, int):
            return replace(predicted, onsite={**predicted.onsite, key: changed})
        return replace(predicted, pairs={**predicted.pairs, key: changed})
    return predicted
