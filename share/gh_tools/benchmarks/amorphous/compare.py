"""Compare amorphous oxides with the literature: pair distributions, coordination, angles.

python compare.py -o amorphous.png quenched.structures.zarr slowly=other.structures.zarr

A name before ``=`` is that of the curves. Prints a table for each store.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

import gh_tools.api as gh
from gh_tools.plotting import PALETTE, picture

# Å: how far pair distributions go, and the widths of their bins and of what smooths them.
FARTHEST, BIN, SMOOTH = 8.0, 0.02, 0.05
# Bonds of a cation with oxygen are shorter than this, in Å: the minimum behind the first peak.
BONDS = {14: 2.1, 72: 2.8}
OXYGEN = 8


class Distributions(NamedTuple):
    """What is known of all structures of a store.

    Attributes:
        density: in g/cm³.
        distance: of the pair distributions, Å.
        pairs: g(r) by elements.
        coordination: how many atoms of an element have so many bonds, by element.
        angles: in degrees, by the three elements.
    """

    density: float
    distance: Float[np.ndarray, " bins"]
    pairs: dict[str, Float[np.ndarray, " bins"]]
    coordination: dict[str, Float[np.ndarray, " counts"]]
    angles: dict[str, Float[np.ndarray, " _angles"]]


def distributions(structures: list[ase.Atoms]) -> Distributions:
    """Count pairs, bonds and angles of structures with one cation and oxygen."""
    [cation] = {int(z) for a in structures for z in a.numbers} - {OXYGEN}
    edges = np.arange(0.0, FARTHEST + BIN, BIN)
    centre = 0.5 * (edges[1:] + edges[:-1])
    kernel = np.exp(-0.5 * (np.arange(-6, 7) * BIN / SMOOTH) ** 2)
    pairs: dict[str, np.ndarray] = {}
    bonds: dict[str, list[np.ndarray]] = {}
    angles: dict[str, list[np.ndarray]] = {}
    for atoms in structures:
        i, j, distance, vector = neighbor_list("ijdD", atoms, FARTHEST)
        z = atoms.numbers
        for a, b in ((cation, OXYGEN), (OXYGEN, OXYGEN), (cation, cation)):
            found = np.histogram(distance[(z[i] == a) & (z[j] == b)], edges)[0]
            ideal = (z == a).sum() * (z == b).sum() / atoms.get_volume()
            g = found / (4 * np.pi * centre**2 * BIN * ideal)
            name = f"{chemical_symbols[a]}-{chemical_symbols[b]}"
            smooth = np.convolve(g, kernel / kernel.sum(), mode="same")
            pairs[name] = pairs.get(name, 0.0) + smooth / len(structures)
        bonded = (z[i] != z[j]) & (distance < BONDS[cation])
        count = np.bincount(i[bonded], minlength=len(atoms))
        unit = vector[bonded] / distance[bonded, None]
        starts = np.concatenate([[0], np.cumsum(count)])
        for number, other in ((cation, OXYGEN), (OXYGEN, cation)):
            symbol, ends = chemical_symbols[number], chemical_symbols[other]
            bonds.setdefault(symbol, []).append(count[z == number])
            for atom in np.flatnonzero(z == number):
                own = unit[starts[atom] : starts[atom + 1]]
                above = np.triu_indices(len(own), 1)
                cosine = np.clip((own @ own.T)[above], -1.0, 1.0)
                angles.setdefault(f"{ends}-{symbol}-{ends}", []).append(
                    np.degrees(np.arccos(cosine))
                )
    mass = sum(a.get_masses().sum() for a in structures)
    volume = sum(a.get_volume() for a in structures)
    return Distributions(
        1.66053907 * mass / volume,
        centre,
        pairs,
        {s: np.bincount(np.concatenate(c)) / sum(map(len, c)) for s, c in bonds.items()},
        {name: np.concatenate(found) for name, found in angles.items()},
    )


def report(name: str, found: Distributions) -> Table:
    """Return peaks, coordination numbers and angles as a table."""
    table = Table(title=f"{name}: {found.density:.2f} g/cm³")
    table.add_column("what")
    table.add_column("found", justify="right")
    for pair, g in found.pairs.items():
        table.add_row(
            f"highest peak of {pair} (Å)", f"{found.distance[g[found.distance < 4.2].argmax()]:.2f}"
        )
    for symbol, part in found.coordination.items():
        mean = np.arange(len(part)) @ part
        shares = ", ".join(f"{k}: {100 * p:.1f} %" for k, p in enumerate(part) if p > 5e-4)
        table.add_row(f"bonds of {symbol}", f"{mean:.2f} ({shares})")
    for angle, values in found.angles.items():
        table.add_row(f"angle {angle} (°)", f"{values.mean():.1f} ± {values.std():.1f}")
    return table


def main() -> None:
    """Print tables and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", help="stores of structures, or NAME=STORE")
    parser.add_argument("-o", "--output", default="amorphous.png")
    options = parser.parse_args()
    named = [s.split("=", 1) if "=" in s else [s.split(".")[0], s] for s in options.stores]
    every = {name: distributions(gh.open(path).atoms) for name, path in named}
    for name, found in every.items():
        Console(width=79).print(report(name, found))
    with picture(options.output, (6.4, 3.0)) as (figure, axes):
        axes.remove()
        left, right = figure.subplots(1, 2)
        for style, (name, found) in zip(("-", (0, (3.0, 1.6)), ":"), every.items(), strict=False):
            for color, (pair, g) in zip(PALETTE, found.pairs.items(), strict=False):
                left.plot(found.distance, g, color=color, ls=style, lw=1.2, label=f"{pair}, {name}")
            for color, (angle, values) in zip(PALETTE, found.angles.items(), strict=False):
                height, edges = np.histogram(values, np.arange(60, 181, 3.0), density=True)
                middle = 0.5 * (edges[1:] + edges[:-1])
                right.plot(middle, height, color=color, ls=style, lw=1.2, label=f"{angle}, {name}")
        left.set(xlabel="r (Å)", ylabel="g(r)", xlim=(1, FARTHEST - 5 * SMOOTH), ylim=(0, 8))
        right.set(xlabel="angle (°)", ylabel="probability (1/°)", xlim=(60, 180), ylim=(0, None))
        for axes in (left, right):
            axes.legend(frameon=False, fontsize=6)
    print(options.output)


if __name__ == "__main__":
    main()
