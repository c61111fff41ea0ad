"""Errors that a user can mend, each with the exit code (after sysexits) that its command ends with."""


class GhError(Exception):
    """One clear sentence for the user: what was expected, what was found, and how to mend it."""

    exit_code = 70


class UsageError(GhError):
    """An option, configuration key or combination of them that makes no sense."""

    exit_code = 2


class DataError(GhError):
    """A store or its data that is broken, of the wrong kind, or unfit for what was asked."""

    exit_code = 65


class NoInputError(GhError):
    """An input that does not exist, or an empty one."""

    exit_code = 66


class MissingExtraError(GhError):
    """An optional part that is not installed; the message names the extra that brings it."""

    exit_code = 69


class CannotCreateError(GhError):
    """An output that exists already or cannot be written."""

    exit_code = 73


class TryAgainError(GhError):
    """Work that stopped half-way and goes on with ``--resume``."""

    exit_code = 75
