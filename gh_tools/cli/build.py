"""gh-build: makes structures by a recipe, or reads them from files."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli.command import command
from gh_tools.cli.configuration import as_settings, load_config, show_config
from gh_tools.cli.options import (
    ConfigOption,
    DebugOption,
    DryRunOption,
    JobsOption,
    JsonOption,
    OutputOption,
    OverwriteOption,
    PrintConfigOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    SetOption,
    VerboseOption,
)
from gh_tools.cli.paths import claim_stores, input_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.cli.resuming import take_up
from gh_tools.console import log
from gh_tools.structures.calculators import file_of
from gh_tools.tables import counted


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
            "--number",
            "-n",
            min=1,
            max=1_000_000_000,
            help="How many structures; by default one, of files all.",
        ),
    ] = None,
    list_recipes: Annotated[
        bool, typer.Option("--list", help="List the recipes, and stop.")
    ] = False,
    anneal: Annotated[
        str | None,
        typer.Option(
            "--anneal",
            metavar="CALCULATOR",
            help="Anneal by the recipe's schedule: emt, xtb, chgnet, sevennet, lammps:NAME, lammps:FILE, "
            "mace:FILE or module:Class. The same as --set anneal.calculator=...",
        ),
    ] = None,
    relax: Annotated[
        str | None,
        typer.Option(
            "--relax",
            metavar="CALCULATOR",
            help="Let another calculator relax what was annealed. The same as --set anneal.relax=...",
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            "--every",
            min=1,
            metavar="STEPS",
            help="Keep snapshots of the annealing's dynamics, too: one every so many time steps.",
        ),
    ] = None,
    output: OutputOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    print_config: PrintConfigOption = False,
    seed: SeedOption = 0,
    jobs: JobsOption = 1,
    resume: ResumeOption = False,
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

    Structures are annealed where a calculator is given; the schedule is a part of the recipe (see
    --print-config). An annealing that was interrupted goes on with --resume, within a trajectory,
    to the same result.
    """
    from gh_tools.structures import registry

    if list_recipes:
        for name in registry.NAMES:
            print(f"{name:<12}{registry.get_recipe(name).summary}")
        return
    sources, earlier = take_up("gh-build", sources, output, resume)
    recorded = dict(earlier.config) if earlier else {}
    if earlier is not None and recorded.get("recipe") in registry.NAMES:
        name, files = recorded["recipe"], list(recorded.get("paths", ()))
        output, seed, recorded_n = earlier.output, earlier.seed or 0, recorded.pop("n", None)
        number, every = number or recorded_n, every or recorded.pop("every", None)
        recorded = {k: v for k, v in recorded.items() if k not in ("every", "files")}
    else:
        name, files = _choose(sources, config)
    recipe = registry.get_recipe(name)
    settings = as_settings(
        settings, {"paths": files or None, "anneal.calculator": anneal, "anneal.relax": relax}
    )
    options = load_config(recipe.config, config, settings, recorded)
    _refuse_foreign_code(options.anneal, earlier.source if earlier else config, settings)
    if recipe.complete is not None and (number is not None or not print_config):
        options = recipe.complete(options, number)
    if print_config:
        show_config(options)
        return

    from gh_tools.errors import TryAgainError, UsageError
    from gh_tools.labels.periodicity import warn_if_mixed
    from gh_tools.store.structures import read_structures, write_structures
    from gh_tools.structures.generate import generate
    from gh_tools.structures.reading import check_input_file

    for file in getattr(options, "paths", []):
        check_input_file(file)
    path = output or _default_output(name, getattr(options, "paths", []))
    claim_stores([path], [], overwrite=overwrite, resume=resume)
    annealed = options.anneal.calculator is not None
    if every and not annealed:
        raise UsageError("--every keeps snapshots of an annealing; give --anneal CALCULATOR, too")
    if dry_run:
        many = number or ("all" if recipe.count else 1)
        by = f", annealed with {options.anneal.calculator}" if annealed else ""
        log.info("would write %s structures of the recipe %s to %s%s", many, name, path, by)
        return
    if annealed:
        from gh_tools.structures.annealed import build_annealed

        run = {"n": number, "every": every, **options.model_dump(mode="json")}
        run["files"] = _contents(options)
        # Calculators may talk; standard output is for results alone.
        with redirect_stdout(sys.stderr):
            path, n, failures = build_annealed(
                path,
                recipe,
                options,
                describe_run(seed, run),
                n=number,
                seed=seed,
                every=every or 0,
                n_workers=jobs,
                resume=resume,
                overwrite=overwrite,
            )
    else:
        structures = generate(recipe, options, number, seed)
        n, failures = len(structures), []
        provenance = describe_run(seed, {"n": n, **options.model_dump(mode="json")})
        write_structures(path, structures, provenance, overwrite, resume)
    log.info("%s: %s", path, counted(n, "structure"))
    built = read_structures(path)
    warn_if_mixed(built.atoms, built.names)
    emit(path, as_json, recipe=name, n=n, failed=failures)
    if failures:
        reasons = "; ".join(f"{failure['name']} ({failure['reason']})" for failure in failures)
        raise TryAgainError(
            f"{counted(len(failures), 'structure')} failed: {reasons}; --resume tries them again"
        )


def _contents(options) -> dict[str, str]:
    """Return hashes of the files that structures and forces come from: a run goes on only if they are the same."""
    anneal = options.anneal
    files = [file_of(name) for name in (anneal.calculator, anneal.relax) if name is not None]
    paths = [*getattr(options, "paths", []), *(str(file) for file in files if file is not None)]
    found = {}
    for path in filter(os.path.isfile, paths):  # who reads them says what is wrong with others
        with Path(path).open("rb") as stream:
            found[path] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def _refuse_foreign_code(anneal, config: Path | None, settings: list[str]) -> None:
    """Raise `UsageError` if a configuration file, which others may have written, names code to run."""
    from gh_tools.errors import UsageError
    from gh_tools.structures.calculators import ANNEALS, RELAXES, keys_that_run_code

    if config is None or anneal.calculator is None:
        return
    given = {setting.partition("=")[0].strip() for setting in settings}
    found = keys_that_run_code(anneal.calculator, anneal.options, ANNEALS)
    if anneal.relax is not None:
        found += keys_that_run_code(anneal.relax, anneal.relax_options, RELAXES)
    for key in found:
        if key not in given:
            raise UsageError(
                f"{config}: {key} names code or a file to load, which only the command line may do; look at it, "
                f"and if you trust it, give it with --set {key}=..."
            )


def _choose(sources: list[str] | None, config: Path | None) -> tuple[str, list[str]]:
    """Return the name of the recipe, and the files for it to read."""
    from gh_tools.errors import UsageError
    from gh_tools.structures import registry
    from gh_tools.structures.recipe import RecipeName

    if not sources and config is not None:
        return load_config(RecipeName, config, None).recipe, []
    if sources and sources[0] in registry.NAMES:
        name, *rest = sources
        if rest and name != "file":
            raise UsageError(f"the recipe {name} reads no files, but {rest[0]} was given")
        return name, [str(path) for path in input_paths(rest)] if rest else []
    return "file", [str(path) for path in input_paths(sources)]


def _default_output(name: str, paths: list[str]) -> Path:
    source = Path(paths[0]) if paths else Path(name)
    return source.with_name(f"{source.stem}.structures.zarr")


app = command(main, "gh-build wse2 -n 40 --set orthogonal=false --set size=[2,2] -o train.zarr")
