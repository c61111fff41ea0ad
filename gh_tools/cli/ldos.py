"""gh-ldos: where states are, as .cube or .xsf, and maps above a surface."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

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
        typer.Option("--window", help="Sum the states between two energies, eV from E_F."),
    ] = None,
    state: Annotated[
        int | None,
        typer.Option(
            "--state",
            min=-1_000_000,
            max=1_000_000,
            help="One state instead: 0 is the highest below E_F at --kpoint, -1 the next lower, 1 the lowest above.",
        ),
    ] = None,
    kpoint: Annotated[
        tuple[float, float, float],
        typer.Option("--kpoint", help="Where that state is, in reciprocal vectors."),
    ] = (0.0, 0.0, 0.0),
    spin: Annotated[
        int, typer.Option("--spin", min=0, max=1, help="Its spin channel, of labels with two.")
    ] = 0,
    height: Annotated[
        float | None,
        typer.Option(
            "--height",
            min=0.01,
            max=100.0,
            help="A map this many Å above the topmost atom, as of scanning tunnelling microscopy.",
        ),
    ] = None,
    spacing: Annotated[
        float,
        typer.Option("--spacing", min=0.01, max=10.0, help="Distance of the grid's points, Å."),
    ] = 0.2,
    kpts: Annotated[
        tuple[int, int, int] | None,
        typer.Option("--kpts", help="Γ-centred Monkhorst-Pack grid, such as 6 6 1."),
    ] = None,
    soc: Annotated[
        bool,
        typer.Option("--soc", help="Add spin-orbit coupling, from the PAW setups of the basis."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File .cube or .xsf; of a map a picture (.png, .pdf, .svg) or numbers (.csv, .json). By default .cube "
            "or .png, named after the input.",
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
    """Show where states are: their density on a grid, or a map at constant height above a surface.

    The density is that of all states of a k grid between two energies, both spins counted, or of a single state. VESTA and XCrySDen
    open .cube (1/Bohr³) and .xsf (1/Å³).

    With --height it is mapped on a plane above the topmost atom: by Tersoff and Hamann the contrast of
    scanning tunnelling microscopy at a bias that spans --window, such as 0 0.5 for empty states.
    """
    from gh_tools.spectra.config import SamplingConfig

    flags = {"kpts": kpts, "soc": soc or None}
    options = load_config(SamplingConfig, config, as_settings(settings, flags))
    if print_config:
        show_config(options)
        return

    from gh_tools.errors import UsageError

    if (window is None) == (state is None):
        raise UsageError("give either --window, two energies, or --state, one state")
    if window is not None and not -math.inf < window[0] < window[1] < math.inf:
        raise UsageError(f"--window: expected two numbers, the lower energy first, found {window}")
    if not all(map(math.isfinite, kpoint)):
        raise UsageError(f"--kpoint: expected three numbers, found {kpoint}")
    paths = input_paths(sources)
    if len(paths) > 1:
        raise UsageError(f"expected one store of Hamiltonians, found {len(paths)}")
    target = output or beside(paths[0], "ldos.cube" if height is None else "ldos.png")

    from gh_tools.plotting import shortened
    from gh_tools.spectra.local_density import (
        density_on_grid,
        single_state,
        states_in,
        surface_map,
    )
    from gh_tools.spectra.local_density_files import GRID_FILES, write_grid, write_map
    from gh_tools.spectra.structure_names import index_of
    from gh_tools.store.hamiltonians import HamiltonianReader

    if height is None and target.suffix.lower() not in GRID_FILES:
        raise UsageError(
            f"{target}: a density is written as .cube or .xsf; pictures are of maps: give --height"
        )
    reader = HamiltonianReader(paths[0], spinors=True)
    index = index_of(reader.names, structure, reader.store.path)
    name = reader.names[index]
    claim_files(
        [target], overwrite=overwrite, data=GRID_FILES if height is None else (".csv", ".json")
    )
    if dry_run:
        log.info("would write the density of states of %s to %s", name, target)
        return
    hamiltonian = reader.read(index)
    if window is not None:
        selected = states_in(hamiltonian, options, window)
        what = f"states from {window[0]:g} to {window[1]:g} eV of E_F"
    else:
        assert state is not None  # one of both was given
        selected = single_state(hamiltonian, options, state, kpoint, spin)
        what = f"state {state} at k = ({', '.join(f'{x:g}' for x in kpoint)}), {selected.energies[0]:.3f} eV from E_F"
    facts: dict[str, Any] = {
        "fermi_level": selected.fermi_level,
        "lowest": selected.energies[0],
        "highest": selected.energies[1],
        "states": selected.count,
    }
    if height is None:
        grid = density_on_grid(selected, spacing)
        write_grid(target, hamiltonian.atoms, grid, f"{name}: {what}")
        facts |= {"integral": grid.integral, "grid": list(grid.values.shape)}
        log.info(
            "%s: %.4g states a cell, integral of their smooth part %.4g",
            what,
            selected.count,
            grid.integral,
        )
    else:
        image, warning = surface_map(selected, height, spacing)
        if warning:
            log.warning(warning)
        what = what.replace("E_F", "$E_\\mathrm{F}$").replace("-", "−")
        write_map(target, image, f"{shortened(name, 50)}, {height:g} Å above the surface\n{what}")
        facts |= {
            "height": height,
            "least": float(image.values.min()),
            "largest": float(image.values.max()),
        }
    emit(target, as_json, structure=name, **facts)


app = command(main, "gh-ldos wse2.predicted.zarr --window -1.5 0 --kpts 6 6 1 -o valence.cube")
