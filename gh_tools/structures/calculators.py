"""Calculators of ASE by name; each is imported, and needs to be installed, only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gh_tools.errors import MissingExtraError, NoInputError, UsageError

# Name: module, class, arguments, extra that brings it. What takes a file has the argument in FILES.
CALCULATORS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "emt": ("ase.calculators.emt", "EMT", {}, ""),
    # Else reset() keeps the wave function of the step before as a guess, and a resumed run differs.
    "xtb": ("tblite.ase", "TBLite", {"verbosity": 0, "cache_api": False}, "xtb"),
    "chgnet": ("chgnet.model.dynamics", "CHGNetCalculator", {}, "chgnet"),
    "sevennet": ("sevenn.calculator", "SevenNetCalculator", {"model": "7net-0"}, "sevennet"),
    "mace": ("mace.calculators", "MACECalculator", {"default_dtype": "float64"}, "mace"),
}
FILES = {"mace": "model_paths"}


def make_calculator(name: str, options: Mapping[str, Any]):
    """Return a calculator of ASE.

    Args:
        name: a key of ``CALCULATORS``, with ``:FILE`` where it takes one, or ``module:Class`` for any
            other class of ASE's calculators.
        options: arguments by name, over those of ``CALCULATORS``.

    Raises:
        UsageError: there is no such calculator, or it does not take the options.
        NoInputError: its file does not exist.
        MissingExtraError: it is not installed.
    """
    known, colon, rest = name.partition(":")
    if known in CALCULATORS:
        module, attribute, defaults, extra = CALCULATORS[known]
        arguments = {**defaults, **_file(known, rest), **options}
    elif colon and rest:
        module, attribute, arguments, extra = known, rest, dict(options), ""
    else:
        raise UsageError(
            f"anneal.calculator: expected {', '.join(CALCULATORS)} (mace:FILE) or module:Class, "
            f"found '{name}'"
        )
    try:
        make = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not extra:
            raise UsageError(f"anneal.calculator: {module} cannot be imported ({error})") from None
        raise MissingExtraError(
            f"the calculator '{known}' is not installed ({error}): pip install 'gh-tools[{extra}]', "
            "see the page on structures for builds of torch without CUDA"
        ) from None
    except AttributeError:
        raise UsageError(f"anneal.calculator: {module} has no {attribute}") from None
    if known not in CALCULATORS:
        from ase.calculators.calculator import BaseCalculator

        if not (isinstance(make, type) and issubclass(make, BaseCalculator)):
            raise UsageError(
                f"anneal.calculator: {name} is no calculator; expected a class that extends "
                "ase.calculators.calculator.Calculator"
            )
    try:
        return make(**arguments)
    except TypeError as error:
        raise UsageError(f"anneal.options: {attribute} does not take them ({error})") from error


def keys_that_run_code(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the keys of a configuration whose values may run what others wrote.

    A class of any module may do so when it is made, by what it is made of, such as the command that many of ASE's
    calculators start; and files of models are loaded by torch, which runs what they ask for.

    Args:
        name: as in `make_calculator`.
        options: as there.
    """
    foreign = ":" in name
    keys = ["anneal.calculator"] if foreign else []
    for key, value in options.items():
        if (foreign and name.partition(":")[0] not in CALCULATORS) or _names_file(value):
            keys.append(f"anneal.options.{key}")
    return keys


def _names_file(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_names_file, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_names_file, value))
    return isinstance(value, str) and ("/" in value or Path(value).exists())


def _file(name: str, path: str) -> dict[str, str]:
    if name not in FILES:
        if path:
            raise UsageError(f"anneal.calculator: {name} takes no file, found ':{path}'")
        return {}
    if not path:
        raise UsageError(
            f"anneal.calculator: {name} needs the file of its model, as in {name}:FILE"
        )
    if not Path(path).is_file():
        raise NoInputError(f"{path}: there is no such model for the calculator {name}")
    return {FILES[name]: path}
