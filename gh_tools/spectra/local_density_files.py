"""Files of local densities of states: cube, XSF, and pictures and numbers of maps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import ase
import numpy as np
from ase.io.cube import write_cube
from ase.units import Bohr

from gh_tools.outputs.publish import new_file
from gh_tools.plotting import INK, PALETTE, picture
from gh_tools.spectra.local_density import Grid, SurfaceMap

GRID_FILES = (".cube", ".xsf")
# Å of a picture of a map, along each direction at least.
_SHOWN = 12.0
# Along its longer edge.
_PIXELS = 500


def write_grid(path: Path, atoms: ase.Atoms, grid: Grid, comment: str) -> None:
    """Write a density as Gaussian's .cube, in 1/Bohr³, or as .xsf, in 1/Å³, both of which VESTA and XCrySDen open.

    Args:
        path: file to write, whose ending decides.
        atoms: the structure.
        grid: the density.
        comment: what it is, one line.
    """
    shown = ase.Atoms(atoms.numbers, atoms.positions, cell=grid.vectors, pbc=atoms.pbc)
    with new_file(path) as new:
        if path.suffix.lower() == ".cube":
            with new.open("w") as file:
                write_cube(
                    file,
                    shown,
                    data=grid.values * Bohr**3,
                    origin=grid.origin,
                    comment=f"{comment}, 1/Bohr^3",
                )
        else:
            new.write_text(_xsf(shown, grid, f"{comment}, 1/A^3"))


def _xsf(atoms: ase.Atoms, grid: Grid, comment: str) -> str:
    """Return the text of an XSF file. ASE's writer has six decimals, of which tails of states need more."""
    # General grids of XSF hold both ends.
    values = np.pad(grid.values, [(0, 1)] * 3, mode="wrap")

    def lines(rows: np.ndarray) -> list[str]:
        return [" ".join(f"{value:.10f}" for value in row) for row in rows]

    data = values.ravel(order="F")
    text = [
        f"# {comment}",
        *("CRYSTAL", "PRIMVEC", *lines(grid.vectors), "PRIMCOORD", f"{len(atoms)} 1"),
        *(
            f"{number} {position}"
            for number, position in zip(atoms.numbers, lines(atoms.positions), strict=True)
        ),
        *("BEGIN_BLOCK_DATAGRID_3D", "density", "BEGIN_DATAGRID_3D_density"),
        " ".join(map(str, values.shape)),
        *lines(grid.origin[None]),
        *lines(grid.vectors),
        *(
            " ".join(f"{value:.8e}" for value in data[start : start + 6])
            for start in range(0, len(data), 6)
        ),
        *("END_DATAGRID_3D", "END_BLOCK_DATAGRID_3D", ""),
    ]
    return "\n".join(text)


def write_map(path: Path, image: SurfaceMap, title: str) -> None:
    """Write a map as a picture; as numbers if the file ends in .csv or .json.

    Args:
        path: file to write.
        image: the map.
        title: over the picture.
    """
    ending = path.suffix.lower()
    if ending == ".csv":
        with new_file(path) as new, new.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("x_A", "y_A", "density_1/A^3"))
            writer.writerows(image.rows().tolist())
    elif ending == ".json":
        data = {
            "height": image.height,
            "vectors": image.vectors.tolist(),
            "density": image.values.tolist(),
        }
        with new_file(path) as new:
            new.write_text(json.dumps(data) + "\n")
    else:
        _draw(path, image, title)


def _draw(path: Path, image: SurfaceMap, title: str) -> None:
    """Draw the cell, and as much around it as makes a rectangle of some size."""
    from matplotlib.colors import LinearSegmentedColormap

    corners = np.array([np.zeros(2), image.vectors[0], image.vectors.sum(axis=0), image.vectors[1]])
    start = corners.min(axis=0)
    size = np.maximum(np.ptp(corners, axis=0), _SHOWN)
    points = (_PIXELS * size / size.max()).astype(int).clip(2)
    x, y = (a + (np.arange(n) + 0.5) / n * b for a, n, b in zip(start, points, size, strict=True))
    where = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1) @ np.linalg.inv(image.vectors)
    power = int(np.floor(np.log10(max(image.values.max(), 1e-300))))
    shown = _interpolated(image.values, where) / 10.0**power
    colours = LinearSegmentedColormap.from_list(
        "map", ["#1a0f0a", "#8c3a12", PALETTE[4], "#fff4d6"]
    )
    width = 3.4
    with picture(path, (width + 1.2, 0.9 + width * size[1] / size[0])) as (figure, axes):
        drawn = axes.imshow(
            shown.T,
            origin="lower",
            extent=(start[0], start[0] + size[0], start[1], start[1] + size[1]),
            cmap=colours,
            vmin=0,
        )
        axes.plot(*corners[[0, 1, 2, 3, 0]].T, color="white", linewidth=0.7, alpha=0.8)
        axes.set(
            xlabel="x (Å)",
            ylabel="y (Å)",
            title=title,
            xlim=(start[0], start[0] + size[0]),
            ylim=(start[1], start[1] + size[1]),
        )
        # As high as the map, which a bar beside axes of fixed proportions is not.
        bar = figure.colorbar(drawn, cax=axes.inset_axes((1.03, 0, 0.045, 1)))
        bar.set_label(f"density of states ($10^{{{power}}}$/Å$^3$)", color=INK)
        bar.outline.set_linewidth(0.6)


def _interpolated(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return values of a periodic grid between its points, by cubic splines."""
    from scipy.ndimage import map_coordinates

    places = np.moveaxis((where % 1.0) * values.shape, -1, 0)
    return map_coordinates(values, places, order=3, mode="grid-wrap")
