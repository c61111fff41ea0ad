"""What every command does the same way: running, inputs, outputs, configuration, results."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import os
import re
import select
import stat
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import typer

from gh_tools import console
from gh_tools.aliases import renamed_keys
from gh_tools.cli.options import VersionOption
from gh_tools.errors import CannotCreateError, DataError, GhError, NoInputError, UsageError
from gh_tools.outputs.claim import claim, end_claims
from gh_tools.resources import disk_error, fullest, source_date

if TYPE_CHECKING:
    import pydantic

    from gh_tools.store.provenance import Provenance
    from gh_tools.store.read import Store
    from gh_tools.workers.task import Executor

Config = TypeVar("Config", bound="pydantic.BaseModel")

INTERRUPTED = 130

# Characters of an error that are shown; what a broken file holds may be in it.
_LONGEST_MESSAGE = 10_000
# Bytes of a line of standard input, which may be an object with the reasons of many failures, and lines.
_LONGEST_LINE, _MOST_LINES = 1 << 24, 100_000
# A configuration: bytes, tables in tables, and seconds until a pipe must have begun to deliver it.
_LARGEST_CONFIG, _DEEPEST_CONFIG, _PIPE_PATIENCE = 1 << 20, 32, 10
# A key of more parts: Python's parser takes time that grows with the square of their number.
_DEEP_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{_DEEPEST_CONFIG}}}"""
)

# What Open MPI, MPICH and Intel MPI, MVAPICH, and SLURM with PMIx tell their processes. SLURM_NTASKS alone
# also stands in the script of a job, which is one process.
_MPI = (
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PMI_SIZE", "PMI_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "PMIX_RANK"),
)


class Command(typer.Typer):
    """A command that ends with a sentence and an exit code also where its streams are closed or full.

    Args:
        program: its name.
        options: of Typer.
    """

    def __init__(self, program: str, **options: Any):
        super().__init__(**options)
        self._program = program

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Run the command line, and leave Python."""
        console.open_streams()
        code: int | str | None = 0
        for work in (functools.partial(super().__call__, *args, **kwargs), sys.stdout.flush):
            try:
                work()
            except SystemExit as stop:
                # Typer ends with 1 where it prints the help to a reader that has gone, and nothing else does.
                code = 0 if stop.code == 1 and console.reader_gone() else stop.code
            except BrokenPipeError:
                pass
            except OSError as error:  # --help has nowhere to go
                code = code or _tell(self._program, *_describe(error))
        sys.exit(code)


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
    app = Command(
        program,
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
            source_date()  # libraries read it when they are imported, and fail with errors of their own
            kwargs.pop("version")  # shown already, by its callback
            main(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            _stop(program, "interrupted", INTERRUPTED)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and error.filename == console.STANDARD_OUTPUT:
                raise typer.Exit(0) from None  # the reader of our output has gone: nothing to tell
            if kwargs.get("debug"):
                lines = traceback.format_exc().splitlines()
                print("\n".join(map(console.printable, lines)), file=sys.stderr)
            _stop(program, *_describe(error, kwargs))
        finally:
            end_claims()

    # Every command shows the version; the functions need not know.
    signature = inspect.signature(main, eval_str=True)
    version = inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=VersionOption
    )
    shown = signature.replace(parameters=[*signature.parameters.values(), version])
    vars(run)["__signature__"] = shown
    run.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()}
    # Typer keeps the line breaks of a docstring; paragraphs are to flow.
    paragraphs = (" ".join(text.split()) for text in (inspect.getdoc(main) or "").split("\n\n"))
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


def _describe(error: Exception, options: Mapping[str, Any] = {}) -> tuple[str, int]:
    if isinstance(error, GhError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        # Before the question of a full disk: NumPy's says what it asked for.
        asked = " ".join(str(error).split())
        return f"not enough memory ({asked or 'none is left'}); ask for less", DataError.exit_code
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", CannotCreateError.exit_code
    if (full := disk_error(error)) is not None:
        # The system does not say where: it is where this command writes.
        folder = fullest(_folders(options))
        return (
            f"{folder}: {full.strerror}; what is finished is kept: make room, and go on with --resume",
            CannotCreateError.exit_code,
        )
    kind = type(error).__name__
    message = " ".join(str(error).split())
    return f"unexpected {kind}: {message} (run again with --debug to see where)", GhError.exit_code


def _folders(options: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folders into which a command with these options may write."""
    if options.get("output") is not None:
        yield options["output"].absolute().parent
    for value in options.values():
        if isinstance(value, list):  # inputs, beside which outputs are made
            yield from (Path(text).absolute().parent for text in value if isinstance(text, str))
    yield from (Path.cwd(), Path(tempfile.gettempdir()))


def _stop(program: str, message: str, code: int) -> None:
    raise typer.Exit(_tell(program, message, code)) from None


def _tell(program: str, message: str, code: int) -> int:
    message = console.printable(message)
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]} ... ({len(message)} characters)"
    print(f"{program}: error: {message}", file=sys.stderr, flush=True)
    return code


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
        lines = _lines()
        if not lines:
            raise NoInputError(
                "standard input: expected paths of stores, but the upstream command produced nothing; "
                "look at its error"
            )
        paths += [_path(line) for line in lines]
    return paths


def _lines() -> list[str]:
    """Return the lines of standard input that are not empty; paths are bytes, whatever its encoding."""
    if sys.stdin is None:
        return []
    found: list[str] = []
    while line := sys.stdin.buffer.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE or b"\0" in line or len(found) == _MOST_LINES:
            raise DataError(
                f"standard input: expected at most {_MOST_LINES} lines, each the path of a store, found "
                "something else"
            )
        if text := os.fsdecode(line).strip():
            found.append(text)
    return found


def _path(line: str) -> Path:
    if not line.startswith("{"):
        return Path(line)
    try:
        return Path(json.loads(line)["path"])
    except (json.JSONDecodeError, KeyError, TypeError, RecursionError):
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


def claim_stores(
    paths: Sequence[Path],
    sources: Sequence[Path | None],
    *,
    overwrite: bool,
    resume: bool = False,
    shared: bool = False,
) -> None:
    """Claim the stores that a command writes, until they are published or the command ends.

    Args:
        paths: of the stores, one for each of the first sources.
        sources: what is read; None stands for an option that was not given.
        overwrite: whether stores may be replaced.
        resume: whether the run goes on with what is there.
        shared: whether other runs do parts of the work at the same time.

    Raises:
        UsageError: two inputs have one output, or an output is an input.
        CannotCreateError: something is there already, or cannot be written.
        TryAgainError: another run is at work on one of them.
    """
    from gh_tools.store.io import check_output

    read = {os.path.realpath(source): source for source in sources if source is not None}
    seen: dict[str, int] = {}
    for number, path in enumerate(paths):
        place = os.path.realpath(path)
        if place in read:
            raise UsageError(
                f"{path}: would be read and replaced in one run; name another --output"
            )
        if place in seen:
            raise UsageError(
                f"{sources[seen[place]]} and {sources[number]} would both become {path}; start one run for each, with "
                "an --output of its own"
            )
        seen[place] = number
    for path in paths:
        claim(path, shared)
        check_output(path, overwrite, resume or shared)


def claim_files(paths: Sequence[Path | None], *, overwrite: bool, data: bool = False) -> None:
    """Claim the pictures that a command writes.

    Args:
        paths: of the files; None stands for an option that was not given.
        overwrite: whether files may be replaced.
        data: whether a file may also hold data, as .json.

    Raises:
        UsageError: two of them are one file, or one has an ending that no picture has.
        CannotCreateError: something is there already, or cannot be written.
        TryAgainError: another run is at work on one of them.
    """
    from gh_tools.outputs.publish import check_file, sweep
    from gh_tools.plotting import check_picture

    seen = set()
    for path in filter(None, paths):
        if not (data and path.suffix.lower() == ".json"):
            check_picture(path)
        if os.path.realpath(path) in seen:
            raise UsageError(f"{path}: is named for two files; give each a name of its own")
        seen.add(os.path.realpath(path))
        held = claim(path)
        check_file(path, overwrite)
        if held.certain:
            sweep(path)


def derived(source: Path, kind: str) -> Path:
    """Name an output after an input: ``x.structures.zarr`` becomes ``x.<kind>.zarr``, beside it."""
    return beside(source, f"{kind}.zarr")


def beside(source: Path, ending: str) -> Path:
    """Name a file after a store and beside it: its name without suffixes, a point, and an ending."""
    if source.name in ("", ".."):  # named by where it is: "." is the present folder
        source = source.resolve()
    if not source.name:
        raise NoInputError(f"{source}: expected a store, found the root of all folders")
    return source.with_name(f"{stem(source)}.{ending}")


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
    try:
        return _load_config(model, file, settings, base)
    except RecursionError:
        raise UsageError(
            f"{file or '--set'}: tables or arrays stand in one another more than {_DEEPEST_CONFIG} deep"
        ) from None


def _load_config(
    model: type[Config],
    file: Path | None,
    settings: Sequence[str] | None,
    base: Mapping[str, Any] | None,
) -> Config:
    import pydantic

    values: dict[str, Any] = _merge({}, base or {})
    if file is not None:
        text = read_config(file)
        if _DEEP_KEY.search(text):
            raise UsageError(f"{file}: a key has more than {_DEEPEST_CONFIG} parts")
        try:
            values = _merge(values, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{file}: not valid TOML: {error}") from None
    for setting in settings or []:
        values = _merge(values, _setting(setting))
    try:
        config = model.model_validate(renamed_keys(values))
        for key, value in _numbers(config.model_dump()):
            if not math.isfinite(value):
                raise UsageError(f"{key}: expected a finite number, found {value}")
        return config
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


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield the floats of nested tables and lists, each with its key, as in a.b.0."""
    if isinstance(value, float):
        yield key, value
    if isinstance(value, Mapping | list | tuple):
        inner = value.items() if isinstance(value, Mapping) else enumerate(value)
        for part, item in inner:
            yield from _numbers(item, f"{key}.{part}" if key else str(part))


def _setting(text: str) -> dict[str, Any]:
    """Return an entry of ``--set`` as nested tables."""
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set {text}: expected KEY=VALUE, as in a.b=c")
    if len(text.splitlines()) > 1:
        raise UsageError(f"--set {text}: expected one line; give each key a --set of its own")
    if len(parts) > _DEEPEST_CONFIG:
        raise UsageError(f"--set: a key has {len(parts)} parts, more than {_DEEPEST_CONFIG}")
    nested: Any = _parse(value.strip())
    for part in reversed(parts):
        nested = {part: nested}
    return nested


def read_config(file: Path) -> str:
    """Return the text of a configuration file, which may be a pipe, as in ``-c <(sed ...)``.

    Raises:
        NoInputError: no such file, or a pipe into which nobody writes.
        UsageError: it is no text, larger than a configuration can be, or a device.
    """
    try:
        status = file.stat()
    except FileNotFoundError:
        raise NoInputError(f"{file}: no such configuration file") from None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise UsageError(f"{file}: expected a configuration file, found a folder or a device")
    try:
        content = _drained(file) if stat.S_ISFIFO(status.st_mode) else _beginning(file)
    except PermissionError as error:
        raise NoInputError(f"{file}: cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_CONFIG:
        raise UsageError(f"{file}: expected a configuration file, found more than 1 MiB")
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: expected text in UTF-8: {error}") from None


def _beginning(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_LARGEST_CONFIG + 1)


@functools.cache  # a pipe gives its content once
def _drained(file: Path) -> bytes:
    content = b""
    # To open a pipe into which nobody writes would wait for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while len(content) <= _LARGEST_CONFIG:
            try:
                piece = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                if select.select([descriptor], [], [], _PIPE_PATIENCE)[0]:
                    continue
                raise NoInputError(f"{file}: a pipe into which nothing is written") from None
            if not piece:
                break
            content += piece
    finally:
        os.close(descriptor)
    if not content:
        raise NoInputError(f"{file}: a pipe into which nobody writes; name a file")
    return content


def as_settings(settings: Sequence[str] | None, options: Mapping[str, Any]) -> list[str]:
    """Append options of their own to ``--set`` entries, after which they win; None is not given."""
    given = {key: value for key, value in options.items() if value is not None}
    return [*(settings or []), *(f"{key}={_as_toml(value)}" for key, value in given.items())]


def _as_toml(value: Any) -> str:
    """Write strings, numbers and lists as TOML: JSON, but for characters beyond 16 bits.

    Of these JSON makes two escapes, where TOML has one; and bytes of a file's name that are no text, which
    Python holds as one half of such a character, stand as they are.
    """

    def escape(found: re.Match) -> str:
        if found["high"]:
            return "\\U" + f"{ord(json.loads(chr(34) + found[0] + chr(34))):08x}"
        return chr(int(found["alone"], 16)) if found["alone"] else found[0]

    pattern = r"\\\\|\\u(?P<high>d[89ab]..)\\u(?P<low>d[c-f]..)|\\u(?P<alone>d[89a-f]..)"
    return re.sub(pattern, escape, json.dumps(value))


def _known_keys(model: type[pydantic.BaseModel], location: Sequence[Any]) -> list[str]:
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not hasattr(annotation, "model_fields"):
            return []
        model = cast("type[pydantic.BaseModel]", annotation)
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


Here = TypeVar("Here")


@contextlib.contextmanager
def executor(
    scheduler: str | None, jobs: int, here: Callable[[], Here]
) -> Iterator[Here | Executor]:
    """Find who works on tasks.

    Args:
        scheduler: the option ``--scheduler``.
        jobs: the option ``--jobs``.
        here: makes the executor of this machine.

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
    if as_json or sys.stdout.isatty():
        print(
            json.dumps({"path": str(path), **facts}) if as_json else console.printable(str(path)),
            flush=True,
        )
        return
    # To the next command, for which a path is bytes: what the encoding lacks is no matter.
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + b"\n")
    sys.stdout.buffer.flush()
