"""How a command runs: errors become sentences and exit codes, also where its streams are closed or full."""

from __future__ import annotations

import functools
import inspect
import shlex
import sys
import tempfile
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import typer
import typer.core
from typer.models import OptionInfo

from gh_tools import console
from gh_tools.cli.options import HelpOption, VersionOption
from gh_tools.cli.sharing import refuse_copies
from gh_tools.errors import CannotCreateError, DataError, GhError
from gh_tools.outputs.claim import claimed, end_claims
from gh_tools.resources import disk_error, fullest, source_date

INTERRUPTED = 130

_METAVARS = {bool: "", int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}

# Characters of an error that are shown; what a broken file holds may be in it.
_LONGEST_MESSAGE = 10_000


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


class _Help(typer.core.TyperCommand):
    """A command whose help names its inputs without Python's words for their types, such as list[str]."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for parameter in self.params:
            if isinstance(parameter, typer.core.TyperArgument):
                vars(parameter)["display_type_rich"] = lambda ctx: None


def command(main: Callable[..., None], example: str, several: bool = False) -> typer.Typer:
    """Make a command of a function whose parameters are its options.

    Errors become one sentence on standard error and an exit code; with ``--debug`` the traceback
    comes first.

    Args:
        main: the function; its docstring is the help. It takes quiet, verbose and debug.
        example: a command line, shown at the end of the help.
        several: whether it knows what to do where MPI starts several processes of it.
    """
    program = "gh-" + main.__module__.rsplit(".", 1)[-1].strip("_").replace("_", "-")
    app = Command(
        program,
        add_completion=False,  # share/gh_tools/completions has faster ones
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> None:
        console.configure(kwargs.get("quiet", False), kwargs.get("verbose", False))
        try:
            if not several and kwargs.get("shard") is None:
                refuse_copies(program)
            source_date()  # libraries read it when they are imported, and fail with errors of their own
            for name in ("help", "version"):  # shown already, by their callbacks
                kwargs.pop(name)
            main(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            _stop(program, _interrupted(program), INTERRUPTED)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and error.filename == console.STANDARD_OUTPUT:
                raise typer.Exit(0) from None  # the reader of our output has gone: nothing to tell
            if kwargs.get("debug"):
                lines = traceback.format_exc().splitlines()
                print("\n".join(map(console.printable, lines)), file=sys.stderr)
            _stop(program, *_describe(error, kwargs))
        finally:
            end_claims()

    # Every command shows its help and the version; the functions need not know.
    signature = inspect.signature(main, eval_str=True)
    standard = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in (("version", VersionOption), ("help", HelpOption))
    ]
    shown = signature.replace(parameters=[*signature.parameters.values(), *standard])
    _name_values(shown)
    vars(run)["__signature__"] = shown
    run.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()}
    # Typer keeps the line breaks of a docstring; paragraphs are to flow.
    paragraphs = (" ".join(text.split()) for text in (inspect.getdoc(main) or "").split("\n\n"))
    app.command(
        name=program,
        cls=_Help,
        help="\n\n".join(paragraphs),
        epilog=f"Example: {example}",
        no_args_is_help=False,
        add_help_option=False,
    )(run)
    return app


def _name_values(signature: inspect.Signature) -> None:
    """Say in the help what an option takes: a word for a value, and nothing for a flag."""
    for parameter in signature.parameters.values():
        option = parameter.annotation.__metadata__[0]
        if isinstance(option, OptionInfo) and option.metavar is None:
            option.metavar = _metavar(parameter.annotation.__origin__)


def _metavar(annotation: Any) -> str | None:
    """Return a word for each value of a type; None of an enumeration, whose members Typer lists."""
    if annotation in _METAVARS:
        return _METAVARS[annotation]
    parts = [part for part in typing.get_args(annotation) if part not in (NoneType, ...)]
    words = [_metavar(part) for part in parts]
    return None if None in words or not words else " ".join(map(str, words))


def _interrupted(program: str) -> str:
    """Say what an interrupted run leaves, and how to go on with it."""
    from gh_tools.store.read import partial_path

    left = [path for path in claimed() if partial_path(path).is_dir()]
    if not left:
        return "interrupted; nothing was written"
    lines = " and ".join(f"'{program} --resume -o {shlex.quote(str(path))}'" for path in left)
    return f"interrupted; what is finished is kept: go on with {lines}"


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
    if isinstance(error, OSError) and error.strerror:
        return f"the system refused: {error.strerror}", CannotCreateError.exit_code
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
