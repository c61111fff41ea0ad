"""Radial functions of SIESTA: .ion.xml and .ion.nc files, and the groups of the nc file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.console import log
from gh_tools.errors import DataError, GhError
from gh_tools.formats.format import extra

_XML, _NC = ".ion.xml", ".ion.nc"


class _Shell(NamedTuple):
    """A shell of an ion.

    Attributes:
        key: n, l and zeta.
        step: between points of the table, Bohr.
        values: of the radial function over r^l, from r = 0, in Bohr^(-3/2-l).
        cutoff: where the function ends, Bohr.
    """

    key: tuple[int, int, int]
    step: float
    values: Float[np.ndarray, " points"]
    cutoff: float


def read_siesta_functions(
    file: Path, keys: Mapping[int, Sequence[tuple[int, int, int]]]
) -> tuple[dict[int, tuple[float, ...]], dict[int, str]]:
    """Read the radial functions that lie beside a file of H and S, or in it.

    Files that cannot be read, or are of other orbitals, are passed over with a warning: S comes from the labels then.

    Args:
        file: of H and S.
        keys: n, l and zeta of each shell, by element, in the order of the basis table.

    Returns:
        Radius in Å of each shell, and the text of the functions (`gh_tools.overlap.radial`), by element.
    """
    cutoffs: dict[int, tuple[float, ...]] = {}
    radial: dict[int, str] = {}
    for name, z, shells in _every(file):
        if z not in keys or z in radial:
            continue
        ordered = _ordered(shells, keys[z])
        if ordered is None:
            log.warning(
                "%s: its shells are not those of %s in %s; its radial functions are not used",
                *(name, chemical_symbols[z], file.name),
            )
            continue
        functions = []
        for shell in ordered:
            r = shell.step * np.arange(len(shell.values))
            values = shell.values * r ** shell.key[1]
            functions.append(
                {"l": shell.key[1], "step": shell.step * Bohr, "values": values.tolist()}
            )
        cutoffs[z] = tuple(shell.cutoff * Bohr for shell in ordered)
        radial[z] = json.dumps(functions)
    return cutoffs, radial


def _every(file: Path) -> Iterator[tuple[str, int, list[_Shell]]]:
    """Yield name, atomic number and shells of each ion."""
    readers = {_XML: _read_xml, _NC: _read_nc}
    for ending, read in readers.items():
        for ion in sorted(file.parent.glob(f"*{ending}")):
            try:
                z, shells = read(ion)
            except (
                *(OSError, ValueError, KeyError, IndexError, AttributeError, TypeError),
                *(ElementTree.ParseError, GhError),
            ) as error:
                log.warning(
                    "%s: holds no radial functions that can be read (%s: %s)",
                    *(ion.name, type(error).__name__, error),
                )
                continue
            yield ion.name, z, shells
    if file.suffix == ".nc":
        with extra("netCDF4").Dataset(str(file)) as stored:
            groups = stored["BASIS"].groups if "BASIS" in stored.groups else {}
            for group in groups.values():
                if "orbnl_l" in group.variables:
                    yield file.name, int(group.Atomic_number), _shells_of(group)


def _read_xml(file: Path) -> tuple[int, list[_Shell]]:
    root = ElementTree.parse(file).getroot()

    def text(node: Any, name: str) -> str:
        found = node.find(name)
        if found is None or not found.text:
            raise DataError(f"expected <{name}>, found none")
        return found.text

    shells = []
    paos = root.find("paos")
    for orbital in paos.findall("orbital") if paos is not None else []:
        key = (int(orbital.attrib["n"]), int(orbital.attrib["l"]), int(orbital.attrib["z"]))
        table = orbital.find("radfunc")
        step = float(text(table, "delta"))
        values = np.array(text(table, "data").split(), dtype=float)[1::2]
        if len(values) != int(text(table, "npts")):
            raise DataError(f"expected {text(table, 'npts').strip()} points, found {len(values)}")
        cutoff = table.find("cutoff") if table is not None else None
        end = step * (len(values) - 1) if cutoff is None else float(cutoff.text or "nan")
        shells.append(_Shell(key, step, values, end))
    return int(text(root, "z")), shells


def _read_nc(file: Path) -> tuple[int, list[_Shell]]:
    with extra("netCDF4").Dataset(str(file)) as stored:
        return int(stored.Atomic_number), _shells_of(stored)


def _shells_of(group: Any) -> list[_Shell]:
    def column(name: str) -> np.ndarray:
        return np.ma.filled(group.variables[name][:], np.nan)

    n, degree, zeta, step, values = map(column, ("orbnl_n", "orbnl_l", "orbnl_z", "delta", "orb"))
    ends = column("cutoff") if "cutoff" in group.variables else step * (values.shape[1] - 1)
    return [
        _Shell((int(n[i]), int(degree[i]), int(zeta[i])), float(step[i]), values[i], float(ends[i]))
        for i in range(len(degree))
    ]


def _ordered(shells: Sequence[_Shell], keys: Sequence[tuple[int, int, int]]) -> list[_Shell] | None:
    """Return shells in the order of keys, or, where keys do not tell them apart, as they are; None if they are others."""
    by_key = {shell.key: shell for shell in shells}
    if len(by_key) == len(shells) == len(keys) and by_key.keys() == set(keys):
        return [by_key[key] for key in keys]
    same = [shell.key[1] for shell in shells] == [key[1] for key in keys]
    return list(shells) if same else None
