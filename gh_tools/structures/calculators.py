"""Calculators of ASE by name; each is imported, and needs to be installed, only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gh_tools.errors import MissingExtraError, NoInputError, UsageError

# Name: module, class, arguments, extra that brings it. What takes a file has the argument in FILES.
CALCULATORS = {
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
        name: a key of ``CALCULATORS``, with ``:FILE`` where it takes one, or ``module:Class``, which
            may be any function that returns a calculator.
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
    try:
        return make(**arguments)
    except TypeError as error:
        raise UsageError(f"anneal.options: {attribute} does not take them ({error})") from error


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
