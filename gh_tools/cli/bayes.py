"""gh-bayes: spectra and a formula in, a posterior out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gh_tools.cli import options
from gh_tools.cli.command import command
from gh_tools.cli.paths import claim_files, claim_stores, derived, input_paths
from gh_tools.cli.results import describe_run, emit
from gh_tools.tables import counted


def main(
    formula: Annotated[
        str,
        typer.Argument(
            metavar="FORMULA",
            help="Linear model 'response ~ a + b' of columns and scalars of the stores: a^2 is a power, "
            "a:b a product, center(a) is a minus its mean, and 0 leaves the intercept out.",
        ),
    ],
    inputs: Annotated[list[str] | None, options.input_argument("SPECTRA")] = None,
    output: options.OutputOption = None,
    chains: Annotated[int, typer.Option("--chains", min=1, help="Independent chains.")] = 8,
    draws: Annotated[int, typer.Option("--draws", min=100, help="Kept draws a chain.")] = 4000,
    tune: Annotated[
        int, typer.Option("--tune", min=100, help="Draws before them, dropped.")
    ] = 2000,
    seed: options.SeedOption = 0,
    prior: Annotated[
        list[str] | None,
        typer.Option(
            "--prior",
            metavar="NAME=normal(MEAN,SD)",
            help="Prior of a coefficient, or sigma=halfnormal(SCALE) or sigma=exponential(MEAN), in the "
            "units of the results; for Intercept of the response where all terms have their means. "
            "By default normal(0,2.5) and halfnormal(1) once all is centred and scaled.",
        ),
    ] = None,
    measurement_error: Annotated[
        str | None,
        typer.Option(
            "--measurement-error",
            metavar="COLUMN",
            help="Column or scalar of the response's own standard deviations, such as "
            "fermi_level_uncertainty of an ensemble's spectra; it is added to sigma in quadrature.",
        ),
    ] = None,
    hdi: Annotated[
        float,
        typer.Option(
            "--hdi", min=0.01, max=0.999, help="Probability of the highest-density interval."
        ),
    ] = 0.94,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Write nothing and end with code 65 if the sampling is not to be trusted.",
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Picture of the posterior to write.")
    ] = None,
    plot_data: Annotated[
        Path | None, typer.Option("--plot-data", help="Picture of the data to write.")
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Chains that are sampled at once.")
    ] = 1,
    overwrite: options.OverwriteOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Regress a result on the structures' design variables, by Bayesian inference.

    Several stores are joined, structure by structure. Coefficients come with mean, standard deviation and
    highest-density interval, in the units of the columns.
    """
    from gh_tools.bayes.formula import parse
    from gh_tools.bayes.priors import parse_priors
    from gh_tools.errors import UsageError

    if "~" not in formula and Path(formula).exists():
        raise UsageError(
            f"formula {formula!r}: there is no '~', but a store of that name; the formula comes before the stores, as in "
            f"gh-bayes 'band_gap ~ strain_x' {formula}"
        )
    model, given = parse(formula), parse_priors(prior or [])
    paths = input_paths(inputs)

    from gh_tools.bayes import run
    from gh_tools.bayes.plot import plot_data as draw_data
    from gh_tools.bayes.plot import plot_posterior
    from gh_tools.console import log
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS

    stores = [open_store(source, KINDS) for source in paths]
    claim_files([plot, plot_data], overwrite=overwrite)
    path = output or derived(paths[0], "posterior")
    claim_stores([path], paths, overwrite=overwrite)
    regression = run.prepare(model, stores, given, measurement_error)
    for sentence in regression.design.warnings():
        log.warning(sentence)
    log.info("%s for %s", model, counted(len(regression.table.rows), "structure"))
    if dry_run:
        for name, distribution in regression.priors.items():
            log.info("prior of %s: %s", name, distribution)
        log.info("would draw %d chains of %d + %d and write %s", chains, tune, draws, path)
        return
    sampling = run.Sampling(chains, draws, tune, seed, jobs)
    config = {
        "formula": str(model),
        "chains": chains,
        "draws": draws,
        "tune": tune,
        "hdi": hdi,
        **({"measurement_error": measurement_error} if measurement_error else {}),
        "prior": {name: str(distribution) for name, distribution in regression.priors.items()},
    }
    result = run.regress(
        regression,
        sampling,
        path,
        describe_run(seed, config, stores),
        probability=hdi,
        strict=strict,
        overwrite=overwrite,
    )
    run.report(result)
    if plot:
        plot_posterior(plot, result.groups["posterior"], result.estimates, hdi)
    if plot_data:
        draw_data(plot_data, regression.table, model.predictors, model.response)
    emit(
        path,
        json,
        structures=len(regression.table.rows),
        formula=str(model),
        hdi_probability=hdi,
        estimates={estimate.name: estimate.as_dict() for estimate in result.estimates},
        faults=result.faults,
    )


app = command(
    main, "gh-bayes 'band_gap ~ strain_x + strain_y' wse2.spectra.zarr --plot posterior.png"
)
