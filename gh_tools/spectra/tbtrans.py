"""Files on which TBtrans runs: H and S of a device and of its leads, and the input that names them.

N. Papior, N. Lorente, T. Frederiksen, A. García and M. Brandbyge, Comput. Phys. Commun. 212, 8 (2017).
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gh_tools.errors import DataError, UsageError
from gh_tools.formats.format import extra
from gh_tools.formats.sisl import to_sisl
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.outputs.publish import new_file
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.contacts import Contact, check_alike, find_contact
from gh_tools.spectra.layers import Layers
from gh_tools.spectra.repeat import rearranged, repeated_along
from gh_tools.spectra.self_energy import BROADENING
from gh_tools.spectra.transport import counts_across
from gh_tools.spectra.transport_report import tell_contacts

_PARTS = ("device", "left", "right")


def tbtrans_files(path: Path) -> list[Path]:
    """Return the files that `write_tbtrans` writes beside its input, and the input, which is the last.

    Args:
        path: of the input, .fdf.

    Raises:
        UsageError: the name has characters that an input of TBtrans cannot hold.
    """
    if not re.fullmatch(r"[\w.+-]+", path.stem, re.ASCII):
        raise UsageError(
            f"{path.name}: files of TBtrans have names of letters, digits, '.', '_', '+' and '-': name another --output"
        )
    return [*(path.with_name(f"{path.stem}.{part}.TSHS") for part in _PARTS), path]


def write_tbtrans(
    path: Path,
    device: Hamiltonian,
    left: Hamiltonian,
    right: Hamiltonian,
    axis: int,
    energy: Float[np.ndarray, " points"],
    counts: tuple[int, int, int],
    config: SamplingConfig | None = None,
) -> dict[str, Any]:
    """Write the device and its leads as NAME.device.TSHS, NAME.left.TSHS and NAME.right.TSHS, and NAME.fdf that runs on them.

    Atoms of the left lead come first in the device and those of the right lead last, in the order of the leads' files; the others between them,
    sorted along the axis. Energies count from E_F of the left lead in all files, and leads have the device's zero of energy.

    Args:
        path: NAME.fdf.
        device: begins and ends with atoms of the leads, a principal layer of each at least, and has other atoms between them; what it
            repeats along the axis does not count.
        left: lead, of one cell that repeats along the axis, as wide as the device.
        right: likewise.
        axis: index of the cell's vector along which electrons go.
        energy: equally spaced, from the Fermi level of the left lead, eV.
        counts: k-points along each of the cell's vectors; those along the axis and where nothing repeats do not count.
        config: k grid of the leads, for their Fermi levels.

    Returns:
        Facts for the result line: ``fermi_level`` of the left lead and ``shifts`` and ``mismatches`` of both leads in eV.

    Raises:
        DataError: the leads do not fit the device, nothing is between them, or there are spinors.
        MissingExtraError: sisl is not installed.
        UsageError: the name has characters that an input of TBtrans cannot hold.
    """
    *files, _ = tbtrans_files(path)
    extra("sisl")
    if device.spinor or left.spinor or right.spinor:
        raise DataError(
            "TBtrans has no spinors: leave out --soc, or take T(E) of gh-transport or an .npz, which have them"
        )
    check_alike(device, left, right)
    config = config or SamplingConfig()
    middle = Layers(device, axis)
    # Of each lead, a contact for each spin: only their shifts differ.
    ends = [
        [
            find_contact(Layers(device, axis, spin), lead, spin, side, config)
            for spin in range(device.n_spins)
        ]
        for side, lead in ((-1, left), (1, right))
    ]
    contacts = ends[0][0], ends[1][0]
    fermi = contacts[0].fermi_level
    tell_contacts(contacts)
    order = _order(middle, contacts)
    cell = _cell(middle, contacts[0])
    whole = rearranged(device, order, middle.cells)
    whole.atoms.set_cell(cell)
    # What the device repeats along the axis is no part of it.
    parts = [(whole, [-fermi], {"abc"[axis]: 1})]
    for of_spins in ends:
        electrode = _electrode(middle, of_spins[0], cell)
        parts.append((electrode, [contact.shift - fermi for contact in of_spins], {}))
    for file, (part, shifts, cells) in zip(files, parts, strict=True):
        matrix = to_sisl(part)
        matrix.set_nsc(**cells)
        matrix.shift(shifts)
        _write(file, matrix)
    grid = counts_across(device, axis, counts)
    with new_file(path) as new:
        new.write_text(_input(files, axis, energy, grid, fermi))
    return {
        "fermi_level": fermi,
        "shifts": [contact.shift for contact in contacts],
        "mismatches": [contact.mismatch for contact in contacts],
    }


def _order(middle: Layers, contacts: tuple[Contact, Contact]) -> Int[np.ndarray, " atoms"]:
    """Return the atom of the device at each place: the left lead's, those between sorted along the axis, the right lead's."""
    first, last = (contact.atoms for contact in contacts)
    rest = np.setdiff1d(np.arange(len(middle.positions)), np.r_[first, last])
    if np.intersect1d(first, last).size or not rest.size:
        raise DataError(
            f"the device has {len(middle.positions)} atoms, of which {len(first)} are the left lead's and {len(last)} the right "
            "lead's: TBtrans expects others between them; add cells of a lead to the device"
        )
    inverse = np.linalg.inv(middle.hamiltonian.atoms.cell.complete().array)
    return np.r_[first, rest[np.argsort((middle.positions @ inverse)[rest, middle.axis])], last]


def _cell(middle: Layers, contact: Contact) -> Float[np.ndarray, "3 3"]:
    """Return the cell of the device with a vector along the axis that is the lead's, as often as it takes to hold all atoms.

    TBtrans knows leads that are parallel to a vector of the device.
    """
    cell = middle.hamiltonian.atoms.cell.complete().array.copy()
    normal = np.linalg.inv(cell)[:, middle.axis]
    vector = contact.lead.hamiltonian.atoms.cell.array[middle.axis]
    cell[middle.axis] = vector * np.ceil(np.ptp(middle.positions @ normal) / (vector @ normal) + 1)
    return cell


def _electrode(middle: Layers, contact: Contact, cell: Float[np.ndarray, "3 3"]) -> Hamiltonian:
    """Return a principal layer of a lead with the device's positions, vectors across and cells of its atoms."""
    lead, axis = contact.lead, middle.axis
    one = rearranged(lead.hamiltonian, np.arange(len(lead.cells)), lead.cells)
    layer = repeated_along(one, axis, max(1, lead.reach))
    first = np.cumsum(np.r_[0, np.diff(middle.start)[contact.atoms][:-1]])
    layer = rearranged(layer, np.arange(len(contact.atoms)), -contact.cells[first])
    vectors = cell.copy()
    vectors[axis] = layer.atoms.cell.array[axis]
    layer.atoms.set_cell(vectors)
    layer.atoms.positions = middle.positions[contact.atoms]
    return layer


def _write(path: Path, matrix: Any) -> None:
    with new_file(path) as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # sisl takes the kind of a file from its ending.
        named = new.with_name(new.name + ".TSHS")
        matrix.write(str(named))
        named.rename(new)


def _input(
    files: list[Path],
    axis: int,
    energy: Float[np.ndarray, " points"],
    grid: list[int],
    fermi: float,
) -> str:
    """Return the input."""
    device, left, right = (file.name for file in files)
    # TBtrans takes the middles of as many intervals as there are points.
    half = (energy[-1] - energy[0]) / (len(energy) - 1) / 2
    across = "\n".join(
        f"  {' '.join(str(count) if m == n else '0' for m in range(3))} 0.0"
        for n, count in enumerate(grid)
    )
    # As gh-transport has it: H of the lead's atoms in the device is the device's, and the same broadening is everywhere.
    lines = [
        f"# Energies count from E_F of the left lead, {fermi:.6f} eV in the device's store.",
        f"SystemLabel {device.removesuffix('.device.TSHS')}",
        f"TBT.HS {device}",
        f"TBT.Elecs.Eta {BROADENING:.9f} eV",
        f"TBT.Contours.Eta {BROADENING:.9f} eV",
        f"%block TBT.kgrid.MonkhorstPack\n{across}\n%endblock",
        "%block TBT.Contours\n  line\n%endblock",
        "%block TBT.Contour.line",
        "  part line",
        f"  from {energy[0] - half:.10f} eV to {energy[-1] + half:.10f} eV",
        f"  points {len(energy)}",
        "  method mid-rule",
        "%endblock",
        "%block TBT.ChemPots\n  Left\n  Right\n%endblock",
        "%block TBT.Elecs\n  Left\n  Right\n%endblock",
    ]
    for name, file, direction, position in (
        ("Left", left, "-", "1"),
        ("Right", right, "+", "end -1"),
    ):
        lines += [
            f"%block TBT.ChemPot.{name}\n  mu 0.0 eV\n%endblock",
            f"%block TBT.Elec.{name}",
            f"  HS {file}",
            f"  chemical-potential {name}",
            f"  semi-inf-direction {direction}a{axis + 1}",
            f"  electrode-position {position}",
            "  bulk false",
            "%endblock",
        ]
    return "\n".join(lines) + "\n"
