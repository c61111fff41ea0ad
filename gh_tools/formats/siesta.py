"""SIESTA: HSX, TSHS and nc files, read by sisl."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr
from jaxtyping import Float

from gh_tools.errors import DataError
from gh_tools.formats.format import Format, Source, extra
from gh_tools.formats.matrices import CodeMatrices, Entries, Orbitals
from gh_tools.orbitals.blocks import Bands

# Best first: only some tell l and m of the orbitals.
_ENDINGS = (".HSX", ".nc", ".TSHS")
# Coordinates of k-points are printed with six digits; grids have small denominators.
_DIGITS, _DENOMINATOR = 2e-6, 128


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
    except OSError:
        return False


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
    orbitals = _orbitals(file, species if species is not None else geometry)
    if len(orbitals) != geometry.no:
        raise DataError(
            f"expected {geometry.no} orbitals as in H, found {len(orbitals)} in the files that describe them"
        )
    numbers = (species if species is not None else geometry).atoms.Z
    atoms = ase.Atoms(numbers, geometry.xyz, cell=geometry.cell, pbc=True)
    spins, overlap = _entries(h, 0.0 if _unshifted(sile) else fermi)
    scalars = {} if fermi is None else {"fermi_level": fermi}
    cutoffs, radial = _radial_functions(file, orbitals)
    bands = _bands(file, atoms) if len(spins) < 4 else None
    charges, total = _hsx_facts(file)
    electrons = _nc_charge(file) or total
    if electrons is not None:
        scalars["n_electrons"] = electrons
    return CodeMatrices(
        "SIESTA",
        atoms,
        orbitals,
        spins,
        overlap,
        scalars=scalars,
        valence=_valence(charges, species if species is not None else geometry),
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
        return float(sile.read_fermi_level())
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


def _orbitals(file: Path, geometry: Any) -> Orbitals:
    """Return the orbitals in SIESTA's order: shells by n, zeta and l as they come, m from -l to l."""
    degrees: dict[int, tuple[int, ...]] = {}
    for atom in geometry.atoms.atom:
        if not 0 < int(atom.Z) < 119:
            raise DataError(
                f"expected elements, found an atom of atomic number {int(atom.Z)} (ghost atoms are not supported)"
            )
        ls = [int(orbital.l) for orbital in atom.orbitals]
        ms = [int(orbital.m) for orbital in atom.orbitals]
        shells, place = [], 0
        while place < len(ls):
            degree = ls[place]
            if ms[place : place + 2 * degree + 1] != list(range(-degree, degree + 1)):
                raise DataError("expected the functions of each shell with m from -l to l")
            shells.append(degree)
            place += 2 * degree + 1
        if degrees.setdefault(int(atom.Z), tuple(shells)) != tuple(shells):
            raise DataError(
                f"two species of element {atom.symbol} have different shells, which one basis table cannot hold"
            )
    return Orbitals.of_shells(np.asarray(geometry.atoms.Z), degrees, "siesta")


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


def _radial_functions(
    file: Path, orbitals: Orbitals
) -> tuple[dict[int, tuple[float, ...]], dict[int, str]]:
    """Read the radial functions of .ion.xml and .ion.nc files beside, if they fit the orbitals."""
    sisl = extra("sisl")
    cutoffs, radial = {}, {}
    files = [*sorted(file.parent.glob("*.ion.xml")), *sorted(file.parent.glob("*.ion.nc"))]
    for ion in files:
        with contextlib.suppress(Exception):  # without them S comes from the labels
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                atom = sisl.get_sile(ion).read_basis()
            z = int(atom.Z)
            first = [orbital for orbital in atom.orbitals if int(orbital.m) == -int(orbital.l)]
            degrees = tuple(int(orbital.l) for orbital in first)
            if orbitals.degrees.get(z) != degrees or z in radial:
                continue
            functions = []
            for orbital in first:
                reach = float(orbital.R)
                r = np.linspace(0, reach, 1001)
                functions.append(
                    {
                        "l": int(orbital.l),
                        "step": float(r[1]),
                        "values": (orbital.radial(r) * Bohr**1.5).tolist(),
                    }
                )
            cutoffs[z] = tuple(float(orbital.R) for orbital in first)
            radial[z] = json.dumps(functions)
    return cutoffs, radial


def _hsx_facts(file: Path) -> tuple[dict[str, float], float | None]:
    """Read the valence charge of each species, and the total charge, from an HSX file of version 1 or 2."""
    from scipy.io import FortranFile

    found: dict[str, float] = {}
    with contextlib.suppress(Exception):  # other files have none: counts are then not known
        with FortranFile(str(file.with_suffix(".HSX")), "r") as stream:
            if stream.read_ints("i4").tolist()[0] not in (1, 2):
                return {}, None
            stream.read_record("u1")  # whether H and S are in double precision
            count = int(stream.read_ints("i4")[3])
            total = float(stream.read_reals("f8")[10])  # after the cell and the Fermi level
            stream.read_record("u1")  # positions
            record = bytes(stream.read_record("u1"))
            size = len(record) // count
            for index in range(count):
                entry = record[index * size : (index + 1) * size]
                label = entry[: size - 12].decode().strip()
                found[label] = float(np.frombuffer(entry[size - 12 : size - 4], "<f8")[0])
            return found, total
    return {}, None


def _valence(charges: dict[str, float], geometry: Any) -> dict[int, float]:
    """Return the electrons of neutral atoms by element; species have names of their own."""
    known: dict[int, float] = {}
    for label, charge in charges.items():
        symbols = [label[:2].capitalize(), label[:1].upper()]
        for symbol in symbols:
            z = atomic_numbers.get(symbol, 0)
            if z in geometry.atoms.Z:
                known[z] = charge
                break
    return known


def _bands(file: Path, atoms: ase.Atoms) -> Bands | None:
    """Read the eigenvalues that SIESTA printed, if they are there."""
    eig, kp = file.with_suffix(".EIG"), file.with_suffix(".KP")
    if not (eig.is_file() and kp.is_file()):
        return None
    with contextlib.suppress(ValueError, IndexError):
        words = eig.read_text().split()
        n_bands, n_spins, n_k = (int(word) for word in words[1:4])
        if n_spins > 2:
            return None
        table = np.array(words[4:], dtype=float).reshape(n_k, 1 + n_spins * n_bands)[:, 1:]
        rows = np.array([line.split() for line in kp.read_text().splitlines()[1:]], dtype=float)
        cartesian, weight = rows[:, 1:4] / Bohr, rows[:, 4]
        kpoint = _snap(cartesian @ atoms.cell.array.T / (2 * np.pi))
        eigenvalue = table.reshape(n_k, n_spins, n_bands).swapaxes(0, 1)
        return Bands(kpoint, weight / weight.sum(), eigenvalue)
    return None


def _snap(kpoints: Float[np.ndarray, "kpoints 3"]) -> Float[np.ndarray, "kpoints 3"]:
    """Return the fractions with small denominators that coordinates of six digits stand for."""
    snapped = kpoints.copy()
    for place in np.ndindex(*kpoints.shape):
        fraction = float(Fraction(float(kpoints[place])).limit_denominator(_DENOMINATOR))
        if abs(fraction - kpoints[place]) < _DIGITS:
            snapped[place] = fraction
    return snapped


def _nc_charge(file: Path) -> float | None:
    """Return the total charge that an nc file holds."""
    if file.suffix != ".nc":
        return None
    netcdf = extra("netCDF4")
    with netcdf.Dataset(str(file)) as stored:
        if "Qtot" not in stored.variables:
            return None
        total = float(np.ma.filled(stored.variables["Qtot"][:], np.nan).ravel()[0])
        return total if total > 0 else None


FORMAT = Format("siesta", "SIESTA", _find, _read)
