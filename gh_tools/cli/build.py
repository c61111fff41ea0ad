"""gh-build: makes structures by a recipe, or reads them from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli import common
from gh_tools.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    PrintConfigOption,
    QuietOption,
    SeedOption,
    SetOption,
    VerboseOption,
)
from gh_tools.console import log


def main(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|FILE",
            help="Name of a recipe, or files that ASE reads; '-', or nothing behind a pipe, reads "
            "the files' names from standard input.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--number", "-n", min=1, help="How many structures; by default one, of files all."
        ),
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes, and stop.")
    ] = False,
    output: OutputOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    print_config: PrintConfigOption = False,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    debug: DebugOption = False,
) -> None:
    """Make atomic structures by a recipe, or read them from files.

    The design variables of the structures (strain, vacancies, density, ...) become columns of the
    store. The same seed gives the same structures, and the k-th does not depend on how many are
    made. A configuration file may name its recipe: recipe = "wse2".
    """
    from gh_tools.structures import registry

    if list_recipes:
        for name in registry.NAMES:
            print(f"{name:<12}{registry.get(name).summary}")
        return
    name, files = _choose(sources, config)
    recipe = registry.get(name)
    settings = common.as_settings(settings, {"paths": files or None})
    options = common.load_config(recipe.config, config, settings)
    if print_config:
        common.print_config(options)
        return

    from gh_tools.store.io import check_output
    from gh_tools.store.structures import write_structures
    from gh_tools.structures.generate import generate

    path = output or _default_output(name, getattr(options, "paths", []))
    check_output(path, overwrite)
    if dry_run:
        many = number or ("all" if recipe.count else 1)
        log.info("would write %s structures of the recipe %s to %s", many, name, path)
        return
    structures = generate(recipe, options, number, seed)
    provenance = common.provenance(seed, {"n": len(structures), **options.model_dump(mode="json")})
    write_structures(path, structures, provenance, overwrite)
    log.info("%s: %d structures", path, len(structures))
    common.emit(path, as_json, recipe=name, n=len(structures))


def _choose(sources: list[str] | None, config: Path | None) -> tuple[str, list[str]]:
    """Return the name of the recipe, and the files for it to read."""
    from gh_tools.errors import UsageError
    from gh_tools.structures import registry
    from gh_tools.structures.recipe import RecipeName

    if not sources and config is not None:
        return common.load_config(RecipeName, config, None).recipe, []
    if sources and sources[0] in registry.NAMES:
        name, *rest = sources
        if rest and name != "file":
            raise UsageError(f"the recipe {name} reads no files, but {rest[0]} was given")
        return name, [str(path) for path in common.inputs(rest)] if rest else []
    return "file", [str(path) for path in common.inputs(sources)]


def _default_output(name: str, paths: list[str]) -> Path:
    source = Path(paths[0]) if paths else Path(name)
    return source.with_name(f"{source.stem}.structures.zarr")


app = common.command(
    main, "gh-build wse2 -n 40 --set orthogonal=false --set size=[2,2] -o train.zarr"
)
