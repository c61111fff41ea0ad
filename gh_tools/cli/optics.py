"""gh-optics: dielectric function, absorption and joint density of states."""

from __future__ import annotations

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
    QuietOption,
    SetOption,
    VerboseOption,
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
    window: Annotated[
        tuple[float, float] | None,
        typer.Option("--window", help="First and last photon energy, eV. Default: 0 10."),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option("--width", help="Half width of the Lorentzian of each transition, eV."),
    ] = None,
    kpts: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--kpts", help="Γ-centred Monkhorst-Pack grid, such as 24 24 1."),
    ] = None,
    soc: Annotated[
        bool,
        typer.Option("--soc", help="Add spin-orbit coupling, from the PAW setups of the basis."),
    ] = False,
    scissors: Annotated[
        float | None,
        typer.Option("--scissors", help="Shift the empty states of an insulator up, eV."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Picture (.png, .pdf, .svg) or numbers (.json, .csv); by default a .png named after the input.",
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
    """Compute the dielectric function, absorption and joint density of states of independent particles.

    Of layers, wires and molecules the polarisability per area, length or as a whole takes the place of the dielectric
    function, which would depend on the vacuum; of layers there is the absorbance, too.

    There are no excitons and no local fields. Of metals the plasma frequency is told, and transitions within bands are left out
    of the spectrum.
    """
    from gh_tools.spectra.optics.config import OpticsConfig

    flags = {
        "kpts": kpts,
        "soc": soc or None,
        "window": window,
        "width": width,
        "scissors": scissors,
    }
    options = load_config(OpticsConfig, config, as_settings(settings, flags))
    if print_config:
        show_config(options)
        return

    from gh_tools.errors import UsageError
    from gh_tools.spectra.optics.report import write_optics
    from gh_tools.spectra.optics.spectrum import optical_spectrum
    from gh_tools.spectra.spectrum import describe_grid
    from gh_tools.spectra.structure_names import index_of
    from gh_tools.store.hamiltonians import HamiltonianReader

    paths = input_paths(sources)
    if len(paths) > 1:
        raise UsageError(f"expected one store of Hamiltonians, found {len(paths)}")
    target = output or beside(paths[0], "optics.png")
    reader = HamiltonianReader(paths[0], spinors=True)
    index = index_of(reader.names, structure, reader.store.path)
    name = reader.names[index]
    claim_files([target], overwrite=overwrite, data=(".json", ".csv"))
    if dry_run:
        log.info("would write the optical spectrum of %s to %s", name, target)
        return
    hamiltonian = reader.read(index)
    log.info("%s: Γ-centred k grid %s", name, describe_grid(hamiltonian.atoms, options))
    facts = write_optics(target, optical_spectrum(hamiltonian, options), name)
    emit(target, as_json, structure=name, **facts)


app = command(main, "gh-optics wse2.predicted.zarr --soc --kpts 12 12 1 -o optics.png")
