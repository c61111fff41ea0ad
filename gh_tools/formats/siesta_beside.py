"""Files of SIESTA beside H and S: elements, charges, eigenvalues."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr
from jaxtyping import Float, Int

from gh_tools.console import log
from gh_tools.errors import DataError
from gh_tools.formats.format import extra
from gh_tools.orbitals.blocks import Bands

# Coordinates of k-points are printed with six digits; grids have small denominators.
_DIGITS, _DENOMINATOR = 2e-6, 128


def hsx_facts(file: Path) -> tuple[dict[str, float], float | None]:
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


def atomic_numbers_of(file: Path, geometry: Any) -> Int[np.ndarray, " atoms"]:
    """Return the elements of the atoms: of the XV file beside, or what the labels of species begin with.

    Args:
        file: of H and S.
        geometry: sisl's.

    Raises:
        DataError: an atom is a ghost, or of no element.
    """
    positions = file.with_suffix(".XV")
    numbers = np.array(geometry.atoms.Z, dtype=np.int64)
    if positions.is_file():
        rows = [line.split() for line in positions.read_text().splitlines()[4:]]
        if len(rows) != len(numbers) or any(len(row) < 2 for row in rows):
            raise DataError(f"expected {len(numbers)} atoms in {positions.name}, found {len(rows)}")
        numbers = np.array([int(row[1]) for row in rows])
    else:
        guessed = {
            f"{atom.tag} is taken for {atom.symbol}"
            for atom in geometry.atoms.atom
            if atom.tag.lower() != atom.symbol.lower() and 0 < int(atom.Z) < len(chemical_symbols)
        }
        if guessed:
            log.warning(
                "%s: of species, labels alone are known: %s; put %s beside to tell elements",
                *(file.name, ", ".join(sorted(guessed)), positions.name),
            )
    wrong = numbers[(numbers < 1) | (numbers >= len(chemical_symbols))]
    if len(wrong):
        raise DataError(
            f"expected elements, found an atom of atomic number {wrong[0]} (ghost atoms are not supported; where "
            f"labels of species do not begin with an element, put {positions.name} beside)"
        )
    return numbers


def valence_electrons(
    charges: dict[str, float], geometry: Any, numbers: Int[np.ndarray, " atoms"]
) -> dict[int, float]:
    """Return the electrons of neutral atoms by element.

    Args:
        charges: valence electrons by SIESTA's label of a species.
        geometry: of sisl, whose atoms have these labels as tags.
        numbers: atomic number of each atom.
    """
    tags = [atom.tag for atom in geometry.atoms.atom]
    return {
        z: charges[tags[species]]
        for z, species in zip(numbers.tolist(), geometry.atoms.species.tolist(), strict=True)
        if tags[species] in charges
    }


def printed_bands(file: Path, atoms: ase.Atoms, spinor: bool) -> Bands | None:
    """Read the eigenvalues that SIESTA printed into SYSTEM.EIG at the k-points of SYSTEM.KP, if they are there.

    Args:
        file: any file of the run.
        atoms: with the cell that k-points are told in.
        spinor: whether states have two components, one electron each.
    """
    eig, kp = file.with_suffix(".EIG"), file.with_suffix(".KP")
    if not (eig.is_file() and kp.is_file()):
        return None
    with contextlib.suppress(ValueError, IndexError):
        words = eig.read_text().split()
        n_bands, n_spins, n_k = (int(word) for word in words[1:4])
        if spinor:  # eight components of H have one set of eigenvalues
            n_spins = 1
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


def nc_charge(file: Path) -> float | None:
    """Return the total charge that an nc file holds."""
    if file.suffix != ".nc":
        return None
    netcdf = extra("netCDF4")
    with netcdf.Dataset(str(file)) as stored:
        if "Qtot" not in stored.variables:
            return None
        total = float(np.ma.filled(stored.variables["Qtot"][:], np.nan).ravel()[0])
        return total if total > 0 else None
