"""gh-bands: band structures along paths of high symmetry."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.configuration import as_settings, load_config, show_config
from gh_tools.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JsonOption,
    OverwriteOption,
    PrintConfigOption,
    ProjectOption,
    QuietOption,
    SetOption,
    VerboseOption,
    Zero,
    ZeroOption,
    input_argument,
)
from gh_tools.cli.paths import beside, claim_files, input_paths
from gh_tools.cli.results import emit
from gh_tools.console import log


def main(
    sources: Annotated[list[str] | None, input_argument("hamiltonians")] = None,
    structure: Annotated[
        str,
        typer.Option("--structure", metavar="NAME|INDEX", help="Which structure; 0 is the first."),
    ] = "0",
    path: Annotated[
        str | None,
        typer.Option(
            "--path",
            metavar="POINTS",
            help="Points of high symmetry, such as GMKG; by default the standard path of the lattice.",
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            "--points",
            min=2,
            max=1_000_000,
            help="Number of k-points along the path. Default: 200; with --unfold, of a supercell that is solved by slices, those that "
            "fold onto its Γ, which are solved at once.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--window",
            help="Energies shown and compared, eV from the zero. Default: all valence bands, and 5 eV above them.",
        ),
    ] = None,
    zero: ZeroOption = Zero.auto,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="STORE",
            help="Hamiltonians (such as the labels) with the same structure, drawn dashed.",
        ),
    ] = None,
    kpts: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--kpts", help="Grid that the Fermi level is found on, such as 6 6 1."),
    ] = None,
    soc: Annotated[
        bool,
        typer.Option("--soc", help="Add spin-orbit coupling, from the PAW setups of the basis."),
    ] = False,
    unfold: Annotated[
        str | None,
        typer.Option(
            "--unfold",
            metavar="auto|N1,N2,N3|FILE",
            help="Unfold a supercell: of a primitive cell that is found, that it repeats so many times (or 9 numbers: its "
            "vectors in primitive ones, by rows), or that a file gives.",
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(
            "--width",
            min=1e-6,
            max=10.0,
            help="Standard deviation of the Gaussians of --unfold in eV. Default: 0.05.",
        ),
    ] = None,
    project: ProjectOption = None,
    fermi: Annotated[
        str | None,
        typer.Option(
            "--fermi",
            help="E_F from the electron 'count', or that of the 'label'. Default: count.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Picture (.png, .pdf, .svg) or data (.json, .csv); by default a .png named after the "
            "input.",
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    print_config: PrintConfigOption = False,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Draw the bands of a structure along a path, dashed over them those of a reference.

    Names of points are those of the most symmetric lattice from which the primitive cell is 3 % off at most; the
    lattice and the coordinates of the points are told. A supercell has the path of the primitive cell. Where it lacks a name, they are those of the next
    lattice that has all.

    Energies are relative to each one's own zero: the top of the valence band, or the Fermi level, which comes
    from a k grid. A table tells the gap, also on the path alone, and the errors against the reference; with --json
    the line on standard output has lattice and points, too. A file that ends in .json holds the bands
    themselves, relative to the Fermi level.

    With --project, bands are as wide as the weight of a group in their states, with a panel for each group. A .json or .csv
    file holds weights, and the group velocity along the path.

    With --soc, lines are coloured by the spin along z, and a .json file holds the spin of each state.

    With --unfold, the states of a supercell are shown in the zone of its primitive cell, each by the weight that
    it has there: the picture is the spectral function. Atoms may be displaced, missing or others. The reference is then
    a store of the primitive cell.
    """
    from gh_tools.spectra.config import ProjectedConfig
    from gh_tools.spectra.groups import parse_project

    flags = {"kpts": kpts, "soc": soc or None, "fermi": fermi}
    flags |= parse_project(project) if project else {}
    options = load_config(ProjectedConfig, config, as_settings(settings, flags))
    if print_config:
        show_config(options)
        return

    from gh_tools.errors import UsageError

    if window is not None and not -math.inf < window[0] < window[1] < math.inf:
        raise UsageError(f"--window: expected two numbers, the lower energy first, found {window}")
    if width is not None and unfold is None:
        raise UsageError("--width broadens unfolded bands: give it with --unfold")
    paths = input_paths(sources)
    if project is not None and (reference is not None or unfold is not None):
        raise UsageError(
            "--project draws fat bands, without a reference and folded: leave out --reference and --unfold"
        )
    if len(paths) > 1:
        raise UsageError(f"expected one store of Hamiltonians, found {len(paths)}")
    target = output or beside(paths[0], "bands.png")

    from gh_tools.cli.unfolding import parse_unfold
    from gh_tools.resources import free_memory
    from gh_tools.spectra.band_path import band_path
    from gh_tools.spectra.bands import band_structure
    from gh_tools.spectra.bands_report import find_structure, write_bands
    from gh_tools.spectra.choice import choose_solver
    from gh_tools.spectra.plot import names_of
    from gh_tools.spectra.sites import find_sites
    from gh_tools.spectra.spectrum import describe_grid
    from gh_tools.spectra.unfolded_bands import WIDTH, unfolded_bands
    from gh_tools.spectra.unfolded_reference import primitive_reference
    from gh_tools.spectra.unfolded_report import write_unfolded
    from gh_tools.store.hamiltonians import HamiltonianReader
    from gh_tools.store.identity import check_same
    from gh_tools.store.provenance import origin_of

    reader = HamiltonianReader(paths[0], spinors=True)
    index = find_structure(reader, structure)
    name, atoms = reader.names[index], reader.structures.atoms[index]
    supercell, primitive = (None, None) if unfold is None else parse_unfold(unfold, atoms)
    orbitals = int(reader.basis.n_orbitals(atoms.numbers).sum()) * (
        2 if soc or reader.spinor else 1
    )
    if points is None and not (
        unfold is not None and choose_solver("auto", orbitals, False, free_memory()) == "slices"
    ):
        points = 200
    along = band_path(atoms, path, points, supercell)
    expected = None if reference is None else HamiltonianReader(reference, spinors=True)
    other = None
    if expected is not None and unfold is None:
        other = find_structure(expected, name)
        where = f"{paths[0]} against {reference}"
        check_same(reader.structures, index, expected.structures, other, where)
    claim_files([target], overwrite=overwrite, data=(".json", ".csv"))
    for line in along.describe(unfold is not None):
        log.info(line)
    log.info("gap and E_F: Γ-centred k grid %s", describe_grid(atoms, options))
    if dry_run:
        log.info("would write the bands of %s along %s to %s", name, along.path.path, target)
        return
    lattice = {
        "lattice": along.lattice,
        "strain": along.strain,
        "primitive_cells": along.primitive_cells,
        "special_points": along.points,
    }
    if supercell is not None:
        sites = find_sites(atoms, supercell, primitive)
        log.info(sites.describe())
        unfolded = unfolded_bands(
            reader.read(index),
            along,
            sites,
            options,
            window=window,
            width=width or WIDTH,
            zero=zero.value,
        )
        beneath = None
        if expected is not None:
            beneath = primitive_reference(expected.read(0), atoms, along, options)
        facts = write_unfolded(target, unfolded, beneath, name)
        emit(target, as_json, structure=name, points=along.path.path, **lattice, **facts)
        return
    data = target.suffix.lower() in (".json", ".csv")
    bands = band_structure(reader.read(index), along, options, velocities=data)
    known = (
        None
        if expected is None or other is None
        else band_structure(expected.read(other), along, options)
    )
    names = names_of(
        origin_of(reader.store.history),
        None if expected is None else origin_of(expected.store.history),
    )
    facts = write_bands(target, bands, known, name, window, zero.value, names)
    for line in bands.edges.describe() if bands.edges else ():
        log.info(line)
    edges = None if bands.edges is None else bands.edges.to_json()
    emit(target, as_json, structure=name, points=along.path.path, edges=edges, **lattice, **facts)


app = command(
    main, "gh-bands wse2.predicted.zarr --path GMKG --reference wse2.hamiltonians.zarr -o bands.png"
)
