"""SIESTA: HSX, TSHS and nc files, read by sisl."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Int

from gh_tools.errors import DataError
from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals
from gh_tools.formats.siesta_beside import (
    atomic_numbers_of,
    hsx_facts,
    nc_charge,
    printed_bands,
    valence_electrons,
)
from gh_tools.formats.siesta_radial import read_siesta_functions
from gh_tools.formats.sisl import geometry_of_shells, stored_shells

# Best first: only some tell l and m of the orbitals.
_ENDINGS = (".HSX", ".nc", ".TSHS")


def _find(path: Path) -> Sequence[Source]:
    if path.is_file():
        return [Source(path)] if path.suffix in _ENDINGS and _is_siesta(path) else []
    if not path.is_dir():
        return []
    labels: dict[str, Path] = {}
    for ending in _ENDINGS:
        for file in sorted(path.glob(f"*{ending}")):
            if file.stem not in labels and _is_siesta(file):
                labels[file.stem] = file
    return [Source(file) for _, file in sorted(labels.items())]


def _is_siesta(file: Path) -> bool:
    """Tell whether an nc file is one of SIESTA's with a Hamiltonian; the other endings are nobody else's."""
    if file.suffix != ".nc":
        return True
    if ".ion" in file.name:
        return False
    try:
        import netCDF4
    except ModuleNotFoundError:
        return False
    try:
        with netCDF4.Dataset(str(file)) as stored:
            return "SPARSE" in stored.groups and "H" in stored.groups["SPARSE"].variables
    except OSError:  # reading one that is cut off tells so
        with file.open("rb") as stream:
            return stream.read(4) in (b"", b"\x89HDF")


def _read(source: Source) -> CodeMatrices:
    sisl = extra("sisl")
    file = source.path
    _check_whole(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sile = sisl.get_sile(file)
        species = _species(file, sile)
        h = sile.read_hamiltonian(**_geometry_of_old(sile, species))
        fermi = _fermi(file, sile)
    geometry = h.geometry
    described = geometry if species is None else species
    numbers = atomic_numbers_of(file, described)
    orbitals, keys = _orbitals(described, numbers)
    if len(orbitals) != geometry.no:
        raise DataError(
            f"expected {geometry.no} orbitals as in H, found {len(orbitals)} in the files that describe them"
        )
    atoms = ase.Atoms(numbers, geometry.xyz, cell=geometry.cell, pbc=True)
    spins, overlap = _entries(h, 0.0 if _unshifted(sile) else fermi)
    scalars = {} if fermi is None else {"fermi_level": fermi}
    cutoffs, radial = read_siesta_functions(file, keys)
    bands = printed_bands(file, atoms, spinor=len(spins) == 4)
    charges, total = hsx_facts(file)
    electrons = nc_charge(file) or total
    if electrons is not None:
        scalars["n_electrons"] = electrons
    return CodeMatrices(
        "SIESTA",
        atoms,
        orbitals,
        spins,
        overlap,
        scalars=scalars,
        valence=valence_electrons(charges, described, numbers),
        cutoffs=cutoffs,
        radial=radial,
        bands=bands,
    )


def _check_whole(file: Path) -> None:
    """Raise `DataError` if the records of a Fortran file do not end where it ends: its readers would stop the program."""
    if file.suffix == ".nc":
        return
    size = file.stat().st_size
    with file.open("rb") as stream:
        place = 0
        while place < size:
            head = stream.read(4)
            if len(head) < 4:
                raise DataError("is truncated")
            length = int.from_bytes(head, "little", signed=True)
            stream.seek(place + 4 + abs(length))
            tail = stream.read(4)
            if len(tail) < 4 or tail != head or place + 8 + abs(length) > size:
                raise DataError("is truncated or damaged: its records do not fit into it")
            place += 8 + abs(length)


def _unshifted(sile: Any) -> bool:
    """Tell whether sisl leaves H as it is: for an old HSX file, which has no Fermi level to subtract."""
    return getattr(sile, "version", None) == 0


def _geometry_of_old(sile: Any, species: Any) -> dict[str, Any]:
    return {"geometry": species} if _unshifted(sile) and species is not None else {}


def _fermi(file: Path, sile: Any) -> float | None:
    if not _unshifted(sile):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fermi = float(np.ravel(sile.read_fermi_level())[0])
        # Of a run that stopped before it, sisl gives 0 and warns.
        missing = any("FermiLevel" in warning.category.__name__ for warning in told)
        return None if missing else fermi
    eig = file.with_suffix(".EIG")
    return float(eig.read_text().split()[0]) if eig.is_file() else None


def _species(file: Path, sile: Any) -> Any | None:
    """Return a geometry of sisl's that knows elements and orbitals; None where the file itself does."""
    sisl = extra("sisl")
    version = getattr(sile, "version", None)
    if file.suffix == ".HSX" and version != 0:
        return None
    if file.suffix == ".nc":
        geometry = sile.read_geometry()
        if all(hasattr(orbital, "m") for atom in geometry.atoms.atom for orbital in atom.orbitals):
            return None
        if (shells := stored_shells(file)) is not None:
            return geometry_of_shells(geometry.atoms.Z, shells, geometry.xyz, geometry.cell)
    beside = file.with_suffix(".HSX")
    if file.suffix != ".HSX" and beside.is_file():
        other = sisl.get_sile(beside)
        if getattr(other, "version", 0) != 0:
            return other.read_geometry()
    index, positions = file.with_suffix(".ORB_INDX"), file.with_suffix(".XV")
    if index.is_file() and positions.is_file():
        atoms = sisl.get_sile(index).read_basis()
        structure = sisl.get_sile(positions).read_geometry()
        return sisl.Geometry(structure.xyz, atoms, lattice=structure.lattice)
    raise DataError(
        f"does not tell l and m of its orbitals; put {file.stem}.HSX of SIESTA 5, or {file.stem}.ORB_INDX and "
        f"{file.stem}.XV, beside it"
    )


def _orbitals(
    geometry: Any, numbers: Int[np.ndarray, " atoms"]
) -> tuple[Orbitals, dict[int, list[tuple[int, int, int]]]]:
    """Return the orbitals in SIESTA's order, shells as they come, m from -l to l; and n, l and zeta of each shell."""
    degrees: dict[int, tuple[int, ...]] = {}
    keys: dict[int, list[tuple[int, int, int]]] = {}
    for z, species in sorted(
        set(zip(numbers.tolist(), geometry.atoms.species.tolist(), strict=True))
    ):
        atom = geometry.atoms.atom[species]
        ls = [int(orbital.l) for orbital in atom.orbitals]
        ms = [int(orbital.m) for orbital in atom.orbitals]
        shells, place = [], 0
        keys[z] = []
        while place < len(ls):
            degree, first = ls[place], atom.orbitals[place]
            keys[z].append((int(first.n), degree, int(first.zeta)))
            if ms[place : place + 2 * degree + 1] != list(range(-degree, degree + 1)):
                raise DataError("expected the functions of each shell with m from -l to l")
            shells.append(degree)
            place += 2 * degree + 1
        if degrees.setdefault(z, tuple(shells)) != tuple(shells):
            raise DataError(
                f"two species of element {chemical_symbols[z]} have different shells, which one basis table cannot hold"
            )
    return Orbitals.of_shells(numbers, degrees, "siesta"), keys


def _entries(h: Any, fermi: float | None) -> tuple[list[Entries], Entries | None]:
    """Return the elements of H, on SIESTA's scale of energies, and of S."""
    offsets = np.asarray(h.geometry.lattice.sc_off)
    no = h.geometry.no
    overlap = None
    if not h.orthogonal:
        overlap = _sparse(h.tocsr(h.S_idx), offsets, no)
    spin = h.spin
    if spin.is_unpolarized or spin.is_polarized:
        count = 2 if spin.is_polarized else 1
        spins = [_sparse(h.tocsr(index), offsets, no) for index in range(count)]
        return [_shift(entries, overlap, fermi or 0.0, no) for entries in spins], overlap
    return [
        _shift_spinor(quarter, overlap, fermi or 0.0, a == b, no)
        for quarter, a, b in _quarters(h, offsets, no)
    ], overlap


def _sparse(matrix: Any, offsets: Any, no: int) -> Entries:
    found = matrix.tocoo()
    return Entries(
        found.row.astype(np.int64),
        (found.col % no).astype(np.int64),
        offsets[found.col // no].astype(np.int64),
        np.asarray(found.data),
    )


def _shift(entries: Entries, overlap: Entries | None, energy: float, no: int) -> Entries:
    """Return H + energy S: sisl puts the Fermi level at zero."""
    if energy == 0.0:
        return entries
    if overlap is None:
        value = entries.value.copy()
        value[(entries.row == entries.column) & ~entries.cell.any(axis=1)] += energy
        return Entries(entries.row, entries.column, entries.cell, value)
    same = len(entries.row) == len(overlap.row) and all(
        np.array_equal(getattr(entries, name), getattr(overlap, name))
        for name in ("row", "column", "cell")
    )
    if not same:
        raise DataError("expected H and S with the same sparsity, found others")
    return Entries(
        entries.row, entries.column, entries.cell, entries.value + energy * overlap.value
    )


def _shift_spinor(
    entries: Entries, overlap: Entries | None, energy: float, diagonal: bool, no: int
) -> Entries:
    return _shift(entries, overlap, energy, no) if diagonal else entries


def _quarters(h: Any, offsets: Any, no: int) -> list[tuple[Entries, int, int]]:
    """Return H↑↑, H↑↓, H↓↑ and H↓↓ of a non-collinear run, by sisl's conventions."""
    parts = [h.tocsr(index) for index in range(h.shape[2] - (0 if h.orthogonal else 1))]
    data = [_sparse(part, offsets, no) for part in parts]
    value = [entries.value for entries in data]
    if h.spin.is_noncolinear:
        up, down = value[0].astype(complex), value[1].astype(complex)
        ud = value[2] + 1j * value[3]
        du = ud.conj()
    else:
        up, down = value[0] + 1j * value[4], value[1] + 1j * value[5]
        ud, du = value[2] + 1j * value[3], value[6] + 1j * value[7]
    where = data[0]
    return [
        (Entries(where.row, where.column, where.cell, quarter), a, b)
        for quarter, a, b in ((up, 0, 0), (ud, 0, 1), (du, 1, 0), (down, 1, 1))
    ]


FORMAT = Format("siesta", "SIESTA", _find, _read)
