"""OpenMX: scfout files of version 3.9, binary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import ase
import numpy as np
from ase.units import Bohr
from jaxtyping import Int

from gh_tools.console import log
from gh_tools.errors import DataError, GhError
from gh_tools.formats.files import number_of
from gh_tools.formats.format import Format, Source
from gh_tools.formats.matrices import (
    CodeMatrices,
    Orbitals,
    adjoint,
    check_atoms,
    entries_of_blocks,
)
from gh_tools.formats.openmx_radial import read_pao
from gh_tools.units import HARTREE

_LETTERS = "spdfghi"
_VERSION = 3
_LINE = 256  # bytes of a line of the input that the file holds
_MOST = 10**7


def _find(path: Path) -> Sequence[Source]:
    if path.is_file():
        return [Source(path)] if path.suffix == ".scfout" else []
    return [Source(file) for file in sorted(path.glob("*.scfout"))] if path.is_dir() else []


class _Reader:
    """Numbers that follow each other in a binary file."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.order = "<"

    def integers(self, count: int) -> Int[np.ndarray, " n"]:
        return self._take(f"{self.order}i4", count).astype(np.int64)

    def reals(self, count: int) -> np.ndarray:
        return self._take(f"{self.order}f8", count).astype(np.float64)

    def _take(self, kind: str, count: int) -> np.ndarray:
        if not 0 <= count <= _MOST * 100:
            raise DataError("is damaged: it announces more numbers than can be")
        size = np.dtype(kind).itemsize * count
        content = self._stream.read(size)
        if len(content) < size:
            raise DataError("is truncated")
        return np.frombuffer(content, kind)

    def text(self, lines: int) -> str:
        content = self._stream.read(_LINE * lines)
        if len(content) < _LINE * lines:
            raise DataError("is truncated")
        rows = [content[start : start + _LINE] for start in range(0, len(content), _LINE)]
        return "".join(row.split(b"\0")[0].decode(errors="replace") for row in rows)


def _read(source: Source) -> CodeMatrices:
    with source.path.open("rb") as stream:
        found = _Reader(stream)
        head = found.integers(6)
        if not (0 < head[0] < _MOST and 0 <= head[1] < 64):
            stream.seek(0)
            found.order = ">"
            head = found.integers(6)
        n_atoms, code, n_cells = int(head[0]), int(head[1]), int(head[5])
        spin, version = code % 4, code // 4
        if version != _VERSION:
            raise DataError(
                f"has the layout {version} of scfout files, where {_VERSION} (OpenMX 3.9) is expected; compute it "
                "again with OpenMX 3.9"
            )
        if head[3] or head[4]:
            raise DataError("is of a transport calculation with leads, which cannot be imported")
        if not (0 < n_atoms < _MOST and 0 <= n_cells < _MOST):
            raise DataError("is damaged: its numbers of atoms and cells cannot be")
        orders = int(found.integers(1)[0])
        found.reals(4 * (n_cells + 1))
        cells = found.integers(4 * (n_cells + 1)).reshape(-1, 4)[:, 1:]
        n_orbitals, n_neighbours = found.integers(n_atoms), found.integers(n_atoms)
        neighbours = [found.integers(int(n) + 1) - 1 for n in n_neighbours]
        images = [found.integers(int(n) + 1) for n in n_neighbours]
        check_atoms(np.concatenate(neighbours), n_atoms)
        check_atoms(np.concatenate(images), len(cells))
        cell = found.reals(12).reshape(3, 4)[:, 1:] * Bohr
        found.reals(12)
        positions = found.reals(4 * n_atoms).reshape(n_atoms, 4)[:, 1:] * Bohr
        shapes = [
            (int(n_orbitals[i]), int(n_orbitals[j])) for i in range(n_atoms) for j in neighbours[i]
        ]
        sizes = [a * b for a, b in shapes]

        def matrix() -> list[np.ndarray]:
            values = np.split(found.reals(sum(sizes)), np.cumsum(sizes)[:-1])
            return [value.reshape(shape) for value, shape in zip(values, shapes, strict=True)]

        spins = [matrix() for _ in range({0: 1, 1: 2, 3: 4}.get(spin, 0))]
        if not spins:
            raise DataError(f"is damaged: it has the spin switch {spin}")
        imaginary = [matrix() for _ in range(3)] if spin == 3 else []
        overlap = matrix()
        channels = {0: 1, 1: 2, 3: 4}[spin]
        for _ in range(3 * orders + 3 + channels + 2):  # positions, momenta, density matrices
            found.reals(sum(sizes))
        found.integers(1)
        numbers = found.reals(10)
        text = found.text(int(found.integers(1)[0]))
    symbols, degrees, valence, charge, names = _input(text, n_orbitals)
    atoms = ase.Atoms([number_of(s) for s in symbols], positions, cell=cell, pbc=True)
    orbitals = Orbitals.of_shells(atoms.numbers, degrees, "openmx")
    pairs = np.concatenate(
        [
            np.column_stack([cells[images[i]], np.full(len(neighbours[i]), i), neighbours[i]])
            for i in range(n_atoms)
        ]
    )
    if spin == 3:
        spins = _spinor(spins, imaginary)
    h = [entries_of_blocks(orbitals, pairs, [b * HARTREE for b in blocks]) for blocks in spins]
    if spin == 3:
        h.insert(2, adjoint(h[1]))
    cutoffs, radial = _radial_functions(source.path.parent, names, degrees)
    return CodeMatrices(
        "OpenMX",
        atoms,
        orbitals,
        h,
        entries_of_blocks(orbitals, pairs, overlap),
        # Of the neutral atoms; the input tells what is missing
        scalars={
            "fermi_level": float(numbers[0]) * HARTREE,
            "n_electrons": float(numbers[8]) - charge,
        },
        valence=valence,
        cutoffs=cutoffs,
        radial=radial,
    )


def _radial_functions(
    folder: Path, names: Mapping[int, str], degrees: Mapping[int, tuple[int, ...]]
) -> tuple[dict[int, tuple[float, ...]], dict[int, str]]:
    """Read the .pao files that lie beside; without them S comes from the labels."""
    cutoffs, radial = {}, {}
    for z, name in names.items():
        file = folder / f"{name}.pao"
        if not file.is_file():
            continue
        try:
            cutoffs[z], radial[z] = read_pao(file, degrees[z])
        except (OSError, ValueError, IndexError, GhError) as error:
            log.warning("%s: its radial functions are not used (%s)", file.name, error)
    return cutoffs, radial


def _spinor(
    real: list[list[np.ndarray]], imaginary: list[list[np.ndarray]]
) -> list[list[np.ndarray]]:
    """Return ↑↑, ↑↓ and ↓↓ of H, which OpenMX keeps as ↑↑, ↓↓, Re ↑↓, Im ↑↓, and imaginary parts of ↑↑, ↓↓, ↑↓ apart."""
    up, down, re, im = real
    i_up, i_down, i_ud = imaginary
    return [
        [a + 1j * b for a, b in zip(up, i_up, strict=True)],
        [a + 1j * (b + c) for a, b, c in zip(re, im, i_ud, strict=True)],
        [a + 1j * b for a, b in zip(down, i_down, strict=True)],
    ]


def _input(
    text: str, n_orbitals: Int[np.ndarray, " atoms"]
) -> tuple[list[str], dict[int, tuple[int, ...]], dict[int, float], float, dict[int, str]]:
    """Read elements, shells, valence electrons, charge and names of orbitals from the input that the file holds."""
    species: dict[str, tuple[str, tuple[int, ...], str]] = {}
    for line in _section(text, "Definition.of.Atomic.Species"):
        name, basis, potential = line.split()[:3]
        match = re.search(r"-((?:[spdfghi]\d+)+)$", basis)
        if match is None:
            raise DataError(f"expected a basis such as Si7.0-s2p2d1 in its input, found {basis!r}")
        shells = [
            _LETTERS.index(letter)
            for letter, count in re.findall(r"([spdfghi])(\d+)", match[1])
            for _ in range(int(count))
        ]
        found = re.match(r"[A-Z][a-z]?", potential) or re.match(r"[A-Z][a-z]?", name)
        orbital_file = basis[: match.start()]
        species[name] = (found[0] if found else name, tuple(shells), orbital_file)
    symbols: list[str] = []
    degrees: dict[int, tuple[int, ...]] = {}
    valence: dict[int, float] = {}
    names: dict[int, str] = {}
    for line in _section(text, "Atoms.SpeciesAndCoordinates"):
        words = line.split()
        if words[1] not in species:
            raise DataError(
                f"its input has an atom of the species {words[1]!r}, which it does not define"
            )
        symbol, mine, orbital_file = species[words[1]]
        z = number_of(symbol)
        names[z] = orbital_file
        symbols.append(symbol)
        if degrees.setdefault(z, mine) != mine:
            raise DataError(f"has two bases of {symbol}, where one is expected")
        valence[z] = sum(float(word) for word in words[5:7])
    if len(symbols) != len(n_orbitals):
        raise DataError(f"has {len(n_orbitals)} atoms, and {len(symbols)} in its input")
    charge = re.search(r"(?im)^\s*scf\.system\.charge\s+(-?[\d.]+)", text)
    return symbols, degrees, valence, float(charge[1]) if charge else 0.0, names


def _section(text: str, name: str) -> list[str]:
    match = re.search(rf"(?is)<{re.escape(name)}\s*\n(.*?){re.escape(name)}>", text)
    if match is None:
        raise DataError(f"expected <{name} in the input that it holds, found none")
    lines = (line.split("#")[0].strip() for line in match[1].splitlines())
    return [line for line in lines if line]


FORMAT = Format("openmx", "OpenMX", _find, _read)
