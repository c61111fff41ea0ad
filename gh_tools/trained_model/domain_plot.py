"""Pictures of structures, coloured by how far the environments of their atoms are from those of training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Float

from gh_tools.plotting import INK, picture, shortened
from gh_tools.store.read import Store
from gh_tools.store.structures import read_structures
from gh_tools.trained_model.outside import atom_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Structures in a picture, and atoms whose elements are written on them.
_MOST, _WRITTEN = 6, 120
# Balls, in covalent radii.
_RADIUS = 0.9


def plot_outside(path: Path | str, predicted: Store) -> None:
    """Draw the structures that are farthest outside, seen along their thinnest direction.

    Args:
        path: picture to write, .png, .pdf or .svg.
        predicted: store of predictions that has ``scalar/out_of_domain``.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import TwoSlopeNorm

    structures = read_structures(predicted)
    scores = predicted["scalar/out_of_domain"]
    worst = np.argsort(-np.nan_to_num(scores), kind="stable")[:_MOST].tolist()
    columns = min(len(worst), 3)
    rows = -(-len(worst) // columns)
    # Up to the limit in blue, beyond in red.
    norm = TwoSlopeNorm(1.0, vmin=0.0, vmax=max(2.0, float(np.nanmax(scores))))
    size = 3.1 * columns + 0.8, 2.9 * rows + 0.3
    with picture(path, size, nrows=rows, ncols=columns, squeeze=False) as (figure, panels):
        colours = ScalarMappable(norm, "RdBu_r")
        for axes in panels.flat[len(worst) :]:
            axes.set_axis_off()
        for axes, index in zip(panels.flat, worst, strict=False):
            found = atom_scores(predicted, index)
            _draw(axes, structures.atoms[index], found, colours)
            outside = int((found > 1).sum())
            name = shortened(structures.names[index], 30)
            axes.set_title(
                f"{name}\n{outside} of {len(found)} atoms outside, at most {found.max():.3g}"
            )
        bar = figure.colorbar(colours, ax=panels, shrink=0.8, pad=0.02, aspect=30)
        bar.set_label("distance to the training set / limit")


def _draw(axes: Axes, atoms: ase.Atoms, scores: Float[np.ndarray, " atoms"], colours: Any) -> None:
    from matplotlib.collections import LineCollection, PatchCollection
    from matplotlib.patches import Circle

    depth = int(np.argmin(np.ptp(atoms.positions, axis=0)))
    across = [axis for axis in range(3) if axis != depth]
    order = np.argsort(atoms.positions[:, depth], kind="stable")
    flat = atoms.positions[:, across]
    circles = [Circle(flat[i], _RADIUS * covalent_radii[atoms.numbers[i]]) for i in order]
    balls = PatchCollection(circles, linewidths=0.5, edgecolors=INK)
    balls.set_facecolor(colours.to_rgba(scores[order]))
    axes.add_collection(balls)
    if len(atoms) <= _WRITTEN:
        for i in order:
            light = 0.25 < colours.norm(scores[i]) < 0.75
            axes.text(
                float(flat[i, 0]),
                float(flat[i, 1]),
                atoms.symbols[i],
                ha="center",
                va="center",
                fontsize=7,
                color=INK if light else "white",
                clip_on=True,
            )
    edges = _cell_edges(atoms)[:, :, across]
    axes.add_collection(LineCollection(list(edges), colors=INK, linewidths=0.6, linestyles=":"))
    shown = np.concatenate([flat, edges.reshape(-1, 2)])
    room = _RADIUS * covalent_radii[atoms.numbers].max() + 0.3
    axes.update_datalim([shown.min(axis=0) - room, shown.max(axis=0) + room])
    axes.margins(0.0)
    axes.autoscale_view()
    axes.set_aspect("equal", adjustable="datalim")
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    names = [f"{'xyz'[axis]} (Å)" for axis in across]
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.tick_params(length=2)


def _cell_edges(atoms: ase.Atoms) -> Float[np.ndarray, "edges 2 3"]:
    """Return the edges of the cell's periodic directions."""
    vectors = atoms.cell.array[atoms.pbc]
    corners = (
        np.array(np.meshgrid(*[(0, 1)] * len(vectors), indexing="ij")).reshape(len(vectors), -1).T
    )
    return np.array(
        [
            [corner @ vectors, corner @ vectors + vectors[axis]]
            for corner in corners
            for axis in range(len(vectors))
            if corner[axis] == 0
        ]
    ).reshape(-1, 2, 3)
