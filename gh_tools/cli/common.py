"""What every command does the same way: running, inputs, outputs, configuration, results."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import re
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from gh_tools import console
from gh_tools.cli.options import VersionOption
from gh_tools.errors import CannotCreateError, DataError, GhError, NoInputError, UsageError

if TYPE_CHECKING:
    import pydantic

    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import Store
    from gh_tools.workers.task import Crew

Config = TypeVar("Config", bound="pydantic.BaseModel")

INTERRUPTED = 130

# What Open MPI, MPICH and Intel MPI, MVAPICH, and SLURM with PMIx tell their processes. SLURM_NTASKS alone
# also stands in the script of a job, which is one process.
_MPI = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
)


def command(main: Callable[..., None], example: str, several: bool = False) -> typer.Typer:
    """Make a command of a function whose parameters are its options.

    Errors become one sentence on standard error and an exit code; with ``--debug`` the traceback
    comes first.

    Args:
        main: the function; its docstring is the help. It takes quiet, verbose and debug.
        example: a command line, shown at the end of the help.
        several: whether it knows what to do where MPI starts several processes of it.
    """
    program = "gh-" + main.__module__.rsplit(".", 1)[-1].replace("_", "-")
    app = typer.Typer(
        add_completion=False,  # share/gh_tools/completions has faster ones
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> None:
        console.configure(kwargs.get("quiet", False), kwargs.get("verbose", False))
        try:
            if not several and kwargs.get("shard") is None:
                _refuse_copies(program)
            kwargs.pop("version")  # shown already, by its callback
            main(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            _stop(program, "interrupted", INTERRUPTED)
        except BrokenPipeError:
            # The reader of our output has gone: nothing to tell, and nothing more to flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            if kwargs.get("debug"):
                traceback.print_exc()
            _stop(program, *_describe(error))

    # Every command shows the version; the functions need not know.
    signature = inspect.signature(main, eval_str=True)
    version = inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=VersionOption
    )
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), version])
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}
    # Typer keeps the line breaks of a docstring; paragraphs are to flow.
    paragraphs = (" ".join(text.split()) for text in inspect.getdoc(main).split("\n\n"))
    app.command(
        name=program,
        help="\n\n".join(paragraphs),
        epilog=f"Example: {example}",
        no_args_is_help=False,
    )(run)
    return app


def mpi_process() -> tuple[int, int]:
    """Return the number of this process and how many there are, as whoever started them by MPI says."""
    for size, rank in _MPI:
        if size in os.environ and rank in os.environ:
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def _refuse_copies(program: str) -> None:
    rank, size = mpi_process()
    if rank:
        raise typer.Exit(UsageError.exit_code)  # the first process tells
    if size > 1:
        raise UsageError(
            f"MPI started {size} processes, but {program} is one, and copies would do the same work; start "
            "it without mpiexec (see --jobs, --shard and --scheduler for what works at once)"
        )


def _describe(error: Exception) -> tuple[str, int]:
    if isinstance(error, GhError):
        return str(error), error.exit_code
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", CannotCreateError.exit_code
    kind = type(error).__name__
    message = " ".join(str(error).split())
    return f"unexpected {kind}: {message} (run again with --debug to see where)", GhError.exit_code


def _stop(program: str, message: str, code: int) -> None:
    print(f"{program}: error: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(code) from None


def inputs(arguments: Sequence[str] | None) -> list[Path]:
    """Return the paths that a command is to read.

    Args:
        arguments: as given; ``-``, or none behind a pipe, stands for the lines of standard input:
            paths, or JSON objects with a ``path``.

    Raises:
        UsageError: nothing was given and standard input is a terminal.
        NoInputError: standard input held nothing.
    """
    if not arguments:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("no input: name a store, or pipe the paths of stores in")
        arguments = ["-"]
    paths = []
    for argument in arguments:
        if argument != "-":
            paths.append(Path(argument))
            continue
        lines = [line.strip() for line in sys.stdin if line.strip()]
        if not lines:
            raise NoInputError(
                "standard input: expected paths of stores, but the upstream command produced nothing; "
                "look at its error"
            )
        paths += [_path(line) for line in lines]
    return paths


def _path(line: str) -> Path:
    if not line.startswith("{"):
        return Path(line)
    try:
        return Path(json.loads(line)["path"])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise DataError(
            f"standard input: expected a path or a JSON object with a 'path', found {line[:80]!r}"
        ) from None


def outputs(given: Path | None, sources: Sequence[Path], kind: str) -> list[Path]:
    """Return where the results of a command that maps each input to one output go.

    Args:
        given: the option ``--output``; good for one input only.
        sources: the inputs.
        kind: suffix of derived names, such as ``hamiltonians``.
    """
    if given is None:
        return [derived(source, kind) for source in sources]
    if len(sources) > 1:
        raise UsageError(
            f"--output names one store, but there are {len(sources)} inputs; leave it out"
        )
    return [given]


def derived(source: Path, kind: str) -> Path:
    """Name an output after an input: ``x.structures.zarr`` becomes ``x.<kind>.zarr``, beside it."""
    return source.with_name(f"{stem(source)}.{kind}.zarr")


def stem(path: Path) -> str:
    """Name of a store without ``.zarr`` and the suffix of its kind: what other names derive from."""
    name = path.name.removesuffix(".zarr")
    return re.sub(r"\.(structures|hamiltonians|scaleshift|model|spectra|posterior)$", "", name)


def load_config(
    model: type[Config],
    file: Path | None,
    settings: Sequence[str] | None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Build a configuration from defaults, a TOML file, and ``--set`` options, in this order.

    Args:
        model: its pydantic model.
        file: the TOML file, if any.
        settings: entries ``a.b=c``; c is TOML, or else text.
        base: values that come before the file's, such as a preset's.

    Raises:
        NoInputError: no such file.
        UsageError: it is no TOML, or a key or a value does not fit; the message names it.
    """
    import pydantic

    values: dict[str, Any] = _merge({}, base or {})
    if file is not None:
        try:
            values = _merge(values, tomllib.loads(file.read_text()))
        except FileNotFoundError:
            raise NoInputError(f"{file}: no such configuration file") from None
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{file}: not valid TOML: {error}") from None
    for setting in settings or []:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {setting}: expected KEY=VALUE, as in a.b=c")
        nested: Any = _parse(text.strip())
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        values = _merge(values, nested)
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the configuration"
        where = f"{file}: " if file is not None else ""
        if first["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(model, first["loc"][:-1]))
            hint = f"; known keys are {known}" if known else ""
            raise UsageError(f"{where}{key}: there is no such key{hint}") from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise UsageError(f"{where}{key}: {message}, found {first['input']!r}") from None


def as_settings(settings: Sequence[str] | None, options: Mapping[str, Any]) -> list[str]:
    """Append options of their own to ``--set`` entries, after which they win; None is not given."""
    given = {key: value for key, value in options.items() if value is not None}
    return [*(settings or []), *(f"{key}={json.dumps(value)}" for key, value in given.items())]


def _known_keys(model: type[pydantic.BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not hasattr(annotation, "model_fields"):
            return []
        model = annotation
    return list(model.model_fields)


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def shard(given: str | None) -> tuple[int, int]:
    """Return I and N of the option ``--shard I/N``; 1 and 1 if it was not given.

    Raises:
        UsageError: it is not of this form, or I is not between 1 and N.
    """
    if given is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", given.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {given}: expected I/N with I from 1 to N, such as 2/8")
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def crew(scheduler: str | None, jobs: int, here: Callable[[], Crew]) -> Iterator[Crew]:
    """Find who works on tasks.

    Args:
        scheduler: the option ``--scheduler``.
        jobs: the option ``--jobs``.
        here: makes the crew of this machine.

    Raises:
        UsageError: both options were given.
        MissingExtraError: Dask is not installed.
        NoInputError: there is no such scheduler file.
        TryAgainError: no scheduler answers.
    """
    if scheduler is None:
        yield here()
        return
    if jobs > 1:
        raise UsageError(
            "--jobs is for this machine alone: with --scheduler all workers are at work"
        )
    from gh_tools.workers.cluster import Cluster

    cluster = Cluster(scheduler)
    try:
        yield cluster
    finally:
        cluster.close()


def print_config(config: pydantic.BaseModel) -> None:
    """Print a configuration as TOML on standard output; keys without a value are comments."""
    print("\n".join(_toml(config.model_dump(mode="json"))))


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    lines = []
    for key, value in table.items():
        if value is None:
            lines.append(f"# {_key(key)} =")
        elif not isinstance(value, Mapping):
            lines.append(f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, _key(key))
            lines += ["", f"[{'.'.join(inner)}]", *_toml(value, inner)]
    return lines


def _key(key: str) -> str:
    plain = key.replace("_", "").replace("-", "")
    return key if plain.isalnum() and plain.isascii() else json.dumps(key)


def provenance(
    seed: int | None = None,
    config: pydantic.BaseModel | Mapping[str, Any] | None = None,
    inputs: Sequence[Store] = (),
) -> Provenance:
    """Describe this run for the history of what it writes."""
    from gh_tools.store.provenance import Provenance

    if config is not None and not isinstance(config, Mapping):
        config = config.model_dump(mode="json")
    return Provenance(Path(sys.argv[0]).name, sys.argv[1:], seed, config or {}, inputs)


def emit(path: Path, as_json: bool, **facts: Any) -> None:
    """Print a finished store on standard output: its path, or an object with path and facts."""
    print(json.dumps({"path": str(path), **facts}) if as_json else path, flush=True)
