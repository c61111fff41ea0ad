"""What the tests of several formats share: lines of a file, names and masses that tell elements, occupancies, charges."""

from __future__ import annotations

import re

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from gh_tools.console import log


def text_lines(path: str) -> list[str]:
    """Return the lines of a file, which may be compressed; each byte is one character."""
    from ase.io.formats import open_with_compression

    with open_with_compression(path, "rb") as file:
        return file.read().decode("latin1").splitlines()


def partial_occupancy(site: str, occupancy: float) -> str:
    """Return why a structure with a site that is occupied in part is not read, as a clause."""
    return (
        f"{site} has occupancy {occupancy:g}, where whole atoms (1) are expected; make cells in which each "
        "site is occupied or empty"
    )


def two_elements(name: str) -> str | None:
    """Say that an atom's name, such as CA, begins with two elements: C and Ca; None if it does not."""
    letters = re.match(r"\d*([A-Za-z]?)([A-Z]?)", name.strip())
    assert letters is not None  # all of it may be empty
    one, two = letters[1].upper(), letters[1].upper() + letters[2].lower()
    if one == two or not {one, two} <= atomic_numbers.keys():
        return None
    return (
        f"an atom is called {name.strip()}, which may be {one} or {two}, and the file does not say which "
        "element it is"
    )


def element_of_mass(mass: float) -> str | None:
    """Symbol of the element that has a mass in u; None where none has, two have nearly, or ASE finds its dummy of 1 u."""
    distance = np.abs(atomic_masses - mass)
    first, second = np.argsort(distance)[:2]
    if first == 0 or distance[first] > 0.5 or distance[first] > distance[second] / 4:
        return None
    return chemical_symbols[first]


def warn_of_charge(path: str, charge: str) -> None:
    """Say that a total charge in |e| is not taken from a file, unless it is zero."""
    if float(charge):
        log.warning(
            "%s: its charge is left out; give it to gh-label with --set charge=%s", path, charge
        )
