"""Blocks of a device and its leads, for other programs of transport."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Complex, Float, Int

from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.outputs.publish import new_file
from gh_tools.spectra.config import SamplingConfig
from gh_tools.spectra.contacts import Contact, check_alike, find_contact
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.layers import Layers


class LeadBlocks(NamedTuple):
    """A semi-infinite lead at one k-point across, in the order, gauge and zero of energy of the device.

    Attributes:
        h: H of a principal layer, eV.
        s: S of it.
        h_next: H between a principal layer and the next along the axis; the adjoint is that back.
        s_next: S between them.
        orbitals: of the device that are those of the lead's layer next to it: this layer of the lead is in the device
            already, and the self-energy of what follows it is added there.
    """

    h: Complex[np.ndarray, "n n"]
    s: Complex[np.ndarray, "n n"]
    h_next: Complex[np.ndarray, "n n"]
    s_next: Complex[np.ndarray, "n n"]
    orbitals: Int[np.ndarray, " n"]


class DeviceBlocks(NamedTuple):
    """H and S of a device at one k-point across, with its leads.

    Attributes:
        h: H of the device, eV.
        s: S of it.
        left: the lead that goes on before it.
        right: the lead that goes on behind it.
        fermi_level: of the left lead, eV.
    """

    h: scipy.sparse.csr_array
    s: scipy.sparse.csr_array
    left: LeadBlocks
    right: LeadBlocks
    fermi_level: float


def device_blocks(
    device: Hamiltonian,
    left: Hamiltonian,
    right: Hamiltonian,
    axis: int,
    k: Float[np.ndarray, "3"],
    spin: int = 0,
    config: SamplingConfig | None = None,
) -> DeviceBlocks:
    """Return what a program of transport needs.

    Args:
        device: begins and ends with atoms of the leads, a principal layer of each at least.
        left: lead, of one cell that repeats along the axis, as wide as the device.
        right: likewise.
        axis: index of the cell's vector along which electrons go.
        k: in units of the reciprocal vectors; its component along the axis does not count.
        spin: channel.
        config: k grid of the leads, for their Fermi levels.

    Raises:
        DataError: the leads do not fit the device.
    """
    check_alike(device, left, right)
    middle, config = Layers(device, axis, spin), config or SamplingConfig()
    before = find_contact(middle, left, spin, -1, config)
    behind = find_contact(middle, right, spin, 1, config)
    h, s = middle.at(k, 0)
    return DeviceBlocks(h, s, _lead(before, k), _lead(behind, k), before.fermi_level)


def _lead(contact: Contact, k: Float[np.ndarray, "3"]) -> LeadBlocks:
    layer = contact.lead.principal(k).shifted(contact.shift)
    # Atoms of the lead may stand in another cell across than those of the device.
    phase = np.exp(2j * np.pi * (contact.cells @ k))
    h, s, h_next, s_next = (
        phase.conj()[:, None] * block * phase
        for block in (layer.h, layer.s, layer.h_next, layer.s_next)
    )
    return LeadBlocks(h, s, h_next, s_next, contact.orbitals)


def write_blocks(
    path: Path,
    device: Hamiltonian,
    left: Hamiltonian,
    right: Hamiltonian,
    axis: int,
    kpoints: KPoints,
) -> dict[str, float]:
    """Write the blocks of all spins and k-points across as one NumPy archive.

    ``kpoint`` and ``weight`` tell the k-points, ``fermi_level`` that of the left lead. Of spin S and k-point K, ``S/K/h`` and ``S/K/s``
    are H and S of the device, each as ``.data``, ``.indices``, ``.indptr`` of a CSR array; ``S/K/left/h``, ``s``, ``h_next``, ``s_next`` and
    ``orbitals`` are those of `LeadBlocks`, dense, and of the right lead likewise.

    Args:
        path: file to write, .npz.
        device: see `device_blocks`.
        left: lead.
        right: lead.
        axis: index of the cell's vector along which electrons go.
        kpoints: across.

    Returns:
        Facts for the result line: ``fermi_level`` in eV.

    Raises:
        DataError: the leads do not fit the device.
    """
    arrays: dict[str, np.ndarray] = {"kpoint": kpoints.points, "weight": kpoints.weights}
    for spin in range(device.n_spins):
        for index, k in enumerate(kpoints.points):
            found = device_blocks(device, left, right, axis, k, spin)
            for name, matrix in (("h", found.h), ("s", found.s)):
                for part in ("data", "indices", "indptr"):
                    arrays[f"{spin}/{index}/{name}.{part}"] = getattr(matrix, part)
            for side in ("left", "right"):
                for name, block in getattr(found, side)._asdict().items():
                    arrays[f"{spin}/{index}/{side}/{name}"] = block
            if spin == index == 0:
                arrays["fermi_level"] = np.array(found.fermi_level)
    with new_file(path) as new, new.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return {"fermi_level": float(arrays["fermi_level"])}
