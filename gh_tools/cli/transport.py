"""gh-transport: Landauer transmission through a device between two leads."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.options import (
    DebugOption,
    DryRunOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    VerboseOption,
    input_argument,
)
from gh_tools.cli.paths import beside, claim_files, input_paths
from gh_tools.cli.results import emit
from gh_tools.console import log


class Axis(StrEnum):
    """A vector of the cell."""

    a = "a"
    b = "b"
    c = "c"


def main(
    sources: Annotated[list[str] | None, input_argument("hamiltonians")] = None,
    axis: Annotated[
        Axis, typer.Option("--axis", help="Vector of the cell along which electrons go.")
    ] = Axis.a,
    left: Annotated[
        Path | None,
        typer.Option(
            "--left",
            metavar="STORE",
            help="Hamiltonians of a cell of the left lead. Default: the structure itself repeats, without a device.",
        ),
    ] = None,
    right: Annotated[
        Path | None,
        typer.Option("--right", metavar="STORE", help="Of the right lead. Default: as the left."),
    ] = None,
    structure: Annotated[
        str,
        typer.Option("--structure", metavar="NAME|INDEX", help="Which device; 0 is the first."),
    ] = "0",
    window: Annotated[
        tuple[float, float],
        typer.Option("--window", help="First and last energy, eV from E_F of the left lead."),
    ] = (-2.0, 2.0),
    points: Annotated[
        int, typer.Option("--points", min=2, max=100_000, help="Number of energies.")
    ] = 201,
    kpts: Annotated[
        tuple[int, int, int],
        typer.Option("--kpts", help="k-points across; that of the axis does not count."),
    ] = (1, 1, 1),
    soc: Annotated[
        bool,
        typer.Option("--soc", help="Add spin-orbit coupling, from the PAW setups of the basis."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Picture (.png, .pdf, .svg) or numbers (.json, .csv); without T(E), .npz for H and S of device and leads, or .fdf for "
            "an input of TBtrans, with the files that it reads beside it. By default a .png named after the input.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Compute the transmission of a device between two leads, T(E) by Landauer, with self-energies by sisl.

    The device begins and ends with atoms of its leads, as many cells as their orbitals couple. Leads are shifted in
    energy to their atoms in the device. Without --left, the number of channels of a structure that repeats.
    """
    from gh_tools.errors import UsageError

    if not -math.inf < window[0] < window[1] < math.inf:
        raise UsageError(f"--window: expected two numbers, the lower energy first, found {window}")
    if right is not None and left is None:
        raise UsageError("--right is a second lead: give the first one with --left")
    paths = input_paths(sources)
    if len(paths) > 1:
        raise UsageError(f"expected one store of Hamiltonians, found {len(paths)}")
    target = output or beside(paths[0], "transport.png")

    import numpy as np

    from gh_tools.errors import DataError
    from gh_tools.spectra.device_blocks import write_blocks
    from gh_tools.spectra.structure_names import index_of
    from gh_tools.spectra.tbtrans import tbtrans_files, write_tbtrans
    from gh_tools.spectra.transport import ballistic, kpoints_across, transmission
    from gh_tools.spectra.transport_report import write_transmission
    from gh_tools.store.hamiltonians import HamiltonianReader

    reader = HamiltonianReader(paths[0], spinors=True)
    index = index_of(reader.names, structure, reader.store.path)
    leads = [
        HamiltonianReader(path, spinors=True) for path in (left, right or left) if path is not None
    ]
    number = list(Axis).index(axis)
    ending = target.suffix.lower()
    if ending in (".npz", ".fdf") and not leads:
        raise UsageError(
            f"{ending} holds a device and its leads: give them with --left and --right"
        )
    targets = tbtrans_files(target) if ending == ".fdf" else [target]
    claim_files(targets, overwrite=overwrite, data=(".json", ".csv", ".npz", ".fdf", ".tshs"))
    if dry_run:
        log.info("would write the transmission of %s to %s", reader.names[index], target)
        return
    device, *ends = reader.read(index), *(lead.read(0) for lead in leads)
    if soc:
        from gh_tools.dft.spin_orbit import with_spin_orbit

        device, *ends = (with_spin_orbit(one) for one in (device, *ends))
    energy = np.linspace(*window, points)
    kpoints = kpoints_across(device, number, kpts)
    if ending == ".npz":
        blocks = write_blocks(target, device, ends[0], ends[1], number, kpoints)
        emit(target, as_json, structure=reader.names[index], **blocks)
        return
    if ending == ".fdf":
        written = write_tbtrans(target, device, ends[0], ends[1], number, energy, kpts)
        emit(target, as_json, structure=reader.names[index], **written)
        return
    if ends:
        found = transmission(device, ends[0], ends[1], number, energy, kpoints)
    elif not device.atoms.pbc[number]:
        raise DataError(
            f"{paths[0]}: {reader.names[index]} does not repeat along {axis.value}: give its leads with --left and --right"
        )
    else:
        found = ballistic(device, number, energy, kpoints)
    facts = write_transmission(target, found, reader.names[index])
    emit(target, as_json, structure=reader.names[index], **facts)


app = command(main, "gh-transport wse2.predicted.zarr --axis a --kpts 1 12 1 -o transport.png")
