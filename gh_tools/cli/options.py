"""Options that mean the same in every command, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gh_tools.version import __version__

_COMMON = "Common options"

OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Store to write; by default named after the input, beside it."
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where an interrupted or partly failed run stopped; with -o alone, with its inputs and options.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration in a TOML file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the configuration, as in a.b=c."),
]
PrintConfigOption = Annotated[
    bool, typer.Option("--print-config", help="Print the whole configuration as TOML, and stop.")
]
# Generators differ in what they take; 32 bits all of them do.
LARGEST_SEED = 2**32 - 1
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Seed of all random numbers.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=1, help="Structures that are worked on at once.")
]
MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="Memory to use, such as 6G. Default: what is free."
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do part I of N of the work, as one job of an array; a last run with --resume joins.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Dask scheduler whose workers do the work, such as tcp://node1:8786, or its scheduler file.",
    ),
]
ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="GROUPS",
        help="Project on 'species', 'shell', 'atom', 'layer' or 'spin'; on elements, as W+Se,oxide=Hf+O; "
        "or on a file's groups. Default: species.",
    ),
]


class Zero(StrEnum):
    """What energies of a picture are counted from."""

    auto = "auto"
    fermi = "fermi"
    valence = "valence"


ZeroOption = Annotated[
    Zero,
    typer.Option(
        "--zero",
        help="Zero of the picture's energies: the Fermi level, or the top of the valence band; by default the latter "
        "of insulators.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print results as JSON, one object a line.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=_COMMON)
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more.", rich_help_panel=_COMMON)
]
DebugOption = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_COMMON),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gh-tools {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version",
        callback=_show_version,
        is_eager=True,
        help="Show the version, and stop.",
        rich_help_panel=_COMMON,
    ),
]


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(context.get_help(), color=context.color)
        raise typer.Exit


HelpOption = Annotated[
    bool,
    typer.Option(
        "--help",
        "-h",
        callback=_show_help,
        is_eager=True,
        help="Show the help, and stop.",
        rich_help_panel=_COMMON,
    ),
]


def input_argument(what: str):
    """Return what is said of a command's inputs: paths, or ``-`` (or none) for standard input.

    Args:
        what: the metavar, such as ``STRUCTURES``.
    """
    return typer.Argument(
        metavar=what.upper(),
        help=f"{what.capitalize()} to read; '-', or nothing behind a pipe, reads their paths "
        "from standard input.",
        show_default=False,
    )
