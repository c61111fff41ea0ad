"""Calculators of ASE by name; each is imported, and needs to be installed, only when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gh_tools.errors import MissingExtraError, NoInputError, UsageError

# Name: module, class, arguments, extra that brings it. What takes a file has the argument, and what is in it, in FILES.
CALCULATORS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "emt": ("ase.calculators.emt", "EMT", {}, ""),
    # Else reset() keeps the wave function of the step before as a guess, and a resumed run differs.
    "xtb": ("tblite.ase", "TBLite", {"verbosity": 0, "cache_api": False}, "xtb"),
    "chgnet": ("chgnet.model.dynamics", "CHGNetCalculator", {}, "chgnet"),
    "sevennet": ("sevenn.calculator", "SevenNetCalculator", {"model": "7net-0"}, "sevennet"),
    "lammps": ("gh_tools.structures.lammps", "Lammps", {}, "lammps"),
    "mace": ("mace.calculators", "MACECalculator", {"default_dtype": "float64"}, "mace"),
}
FILES = {"lammps": ("file", "potential"), "mace": ("model_paths", "model")}
# What may stand for a file: names of potentials that ship with gh-tools, in share/gh_tools/potentials.
_POTENTIALS = "potentials"


Keys = tuple[str, str]  # of a configuration: where a calculator is named, and where its options are
ANNEALS: Keys = ("anneal.calculator", "anneal.options")
RELAXES: Keys = ("anneal.relax", "anneal.relax_options")


def make_calculator(name: str, options: Mapping[str, Any], keys: Keys = ANNEALS):
    """Return a calculator of ASE.

    Args:
        name: a key of ``CALCULATORS``, with ``:FILE`` where it takes one, or ``module:Class`` for any
            other class of ASE's calculators.
        options: arguments by name, over those of ``CALCULATORS``.
        keys: of the configuration that names it, for messages.

    Raises:
        UsageError: there is no such calculator, or it does not take the options.
        NoInputError: its file does not exist.
        MissingExtraError: it is not installed.
    """
    key, options_key = keys
    known, colon, rest = name.partition(":")
    if known in CALCULATORS:
        module, attribute, defaults, extra = CALCULATORS[known]
        arguments = {**defaults, **_file(name, key), **options}
    elif colon and rest:
        module, attribute, arguments, extra = known, rest, dict(options), ""
    else:
        raise UsageError(
            f"{key}: expected {', '.join(CALCULATORS)} (lammps:NAME, mace:FILE) or module:Class, "
            f"found '{name}'"
        )
    try:
        make = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not extra:
            raise UsageError(f"{key}: {module} cannot be imported ({error})") from None
        raise MissingExtraError(
            f"the calculator '{known}' is not installed ({error}): pip install 'gh-tools[{extra}]', "
            "see the page on structures for builds of torch without CUDA"
        ) from None
    except AttributeError:
        raise UsageError(f"{key}: {module} has no {attribute}") from None
    if known not in CALCULATORS:
        from ase.calculators.calculator import BaseCalculator

        if not (isinstance(make, type) and issubclass(make, BaseCalculator)):
            raise UsageError(
                f"{key}: {name} is no calculator; expected a class that extends "
                "ase.calculators.calculator.Calculator"
            )
    try:
        return make(**arguments)
    except TypeError as error:
        raise UsageError(f"{options_key}: {attribute} does not take them ({error})") from error


def built_in_potentials() -> list[str]:
    """Return the names of the potentials for LAMMPS that ship with gh-tools."""
    from gh_tools.resources import share_path

    return sorted(file.stem for file in share_path(_POTENTIALS).glob("*.lammps"))


def file_of(name: str) -> Path | None:
    """Return the file that a calculator's name names, one that ships with gh-tools included; None without any.

    Args:
        name: as in `make_calculator`.

    Raises:
        NoInputError: there is no such file.
    """
    from gh_tools.resources import share_path

    known, _, rest = name.partition(":")
    if known not in FILES or not rest:
        return None
    if known == "lammps" and rest in built_in_potentials():
        return share_path(f"{_POTENTIALS}/{rest}.lammps")
    if not Path(rest).is_file():
        others = f"; the built-in ones are {', '.join(built_in_potentials())}" * (known == "lammps")
        raise NoInputError(
            f"{rest}: there is no such {FILES[known][1]} for the calculator {known}{others}"
        )
    return Path(rest)


def keys_that_run_code(name: str, options: Mapping[str, Any], keys: Keys = ANNEALS) -> list[str]:
    """Return the keys of a configuration whose values may run what others wrote.

    A class of any module may do so when it is made, by what it is made of, such as the command that many of ASE's
    calculators start; files of models are loaded by torch, which runs what they ask for; and the input of LAMMPS has
    a command that runs others.

    Args:
        name: as in `make_calculator`.
        options: as there.
        keys: as there.
    """
    key, options_key = keys
    known, colon, rest = name.partition(":")
    ships = known == "lammps" and rest in built_in_potentials()
    found = [key] if colon and not ships else []
    for option, value in options.items():
        if (colon and known not in CALCULATORS) or _names_file(value):
            found.append(f"{options_key}.{option}")
    return found


def _names_file(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_names_file, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_names_file, value))
    return isinstance(value, str) and ("/" in value or Path(value).exists())


def _file(name: str, key: str) -> dict[str, str]:
    known, _, given = name.partition(":")
    if known not in FILES:
        if given:
            raise UsageError(f"{key}: {known} takes no file, found ':{given}'")
        return {}
    argument, what = FILES[known]
    if (file := file_of(name)) is None:
        raise UsageError(f"{key}: {known} needs the file of its {what}, as in {known}:FILE")
    return {argument: str(file)}
