"""Basis sets and PAW setups: from a labelling configuration to the basis table, and back to GPAW."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import xml.sax
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr

from gh_tools.dft.functionals import setup_family
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell

if TYPE_CHECKING:
    from gh_tools.dft.config import LabelConfig

# Of the radial grid of a basis file: GPAW's have some thousand.
_MOST_POINTS = 100_000


def basis_table(config: LabelConfig, numbers: Iterable[int]) -> Basis:
    """Look up or generate the basis of each element.

    Args:
        config: names of basis sets and setups, confinement, Hubbard terms.
        numbers: atomic numbers that are needed.

    Returns:
        The basis table, with the text of each basis file in it.

    Raises:
        UsageError: GPAW has no such functional, basis set or setup.
    """
    return Basis(
        {number: _element_basis(config, number) for number in sorted(set(map(int, numbers)))}
    )


def _element_basis(config: LabelConfig, number: int) -> ElementBasis:
    from gpaw.basis_data import Basis as BasisFile
    from gpaw.setup_data import SetupData

    symbol = chemical_symbols[number]
    setup = config.setups.get(symbol, "")
    name = config.basis_by_element.get(symbol, config.basis)
    family = setup_family(config.xc)
    try:
        data = SetupData.find_and_read_path(symbol, family, setup or "paw")
        if symbol in config.energy_shift:
            shift = config.energy_shift[symbol]
            found = _confined(data, config.confined_type, shift)
            name = f"{config.confined_type}, confined by {shift:g} eV"
        else:
            found = BasisFile.find(symbol, _file_name(name, setup))
    except (FileNotFoundError, RuntimeError, AssertionError, ValueError) as problem:
        raise UsageError(
            f"no basis {name!r} with setup {setup or 'default'!r} for {symbol}: "
            + _reason(symbol, name, setup, family, problem)
        ) from problem
    text = io.StringIO()
    found.write_to(text)
    hubbard = ";".join(f"{l},{u:g}" for l, u in config.hubbard.get(symbol, {}).items())  # noqa: E741
    return ElementBasis(
        number=number,
        shells=tuple(Shell(int(bf.l), float(bf.rc) * Bohr) for bf in found.bf_j),
        n_valence=float(data.Nv),
        basis_name=name,
        basis_text=text.getvalue(),
        setup=setup,
        fingerprint=data.fingerprint,
        hubbard=hubbard and f":{hubbard}",
    )


def _reason(symbol: str, name: str, setup: str, family: str, problem: Exception) -> str:
    """Say why a basis set was not found, and what to do."""
    from gpaw.basis_data import Basis as BasisFile
    from gpaw.setup_data import SetupData

    known = _setup_names(symbol, family)
    if setup not in ("", *known):
        named = "".join(f", or setups.{symbol}={other}" for other in known)
        missing = f"GPAW has no PAW setup {symbol}.{setup}.{family}; leave setups.{symbol} out for the default one"
        with contextlib.suppress(FileNotFoundError, RuntimeError):
            count = SetupData.find_and_read_path(symbol, family, "paw").Nv
            missing += f", which has {count:g} valence electrons"
        return missing + named
    part = re.fullmatch(r"(\w+)\((\S+)\)", name)
    if part:
        with contextlib.suppress(FileNotFoundError, RuntimeError, AssertionError, ValueError):
            BasisFile.find(symbol, _file_name(part[2], setup))
            # As for lanthanides, whose shells are named in a way that GPAW does not divide.
            return (
                f"GPAW has the set {part[2]}, but cannot take {part[1]} out of it; use all of it, with --set "
                f"basis_by_element.{symbol}={part[2]}"
            )
    reason = str(problem).strip().splitlines()
    return f"{reason[0] if reason else problem!r} Set basis_by_element.{symbol} or setups.{symbol}."


def _setup_names(symbol: str, family: str) -> list[str]:
    """Return the names of an element's PAW setups of a functional other than the default one, such as ["6"] of tungsten."""
    import gpaw

    pattern = re.compile(rf"{symbol}\.(\w+)\.{family}(\.gz)?")
    files = (file.name for path in gpaw.setup_paths for file in Path(path).glob(f"{symbol}.*"))
    return sorted({found[1] for found in map(pattern.fullmatch, files) if found})


def _file_name(name: str, setup: str) -> str:
    """Name of a basis file that goes with a named setup: ``szp(dzp)`` and ``6`` give ``szp(6.dzp)``."""
    if not setup:
        return name
    return name.replace("(", f"({setup}.") if "(" in name else f"{setup}.{name}"


def _confined(data, kind: str, shift: float):
    """Generate a basis from a setup, confined until its states shift up by ``shift`` eV."""
    from gpaw.atom.all_electron import ValenceData
    from gpaw.atom.basis import BasisMaker
    from gpaw.basis_data import parse_basis_name

    zeta, polarization = parse_basis_name(kind)
    atom = ValenceData.from_setupdata_onthefly_potentials(data)
    # The cutoff limit (in Bohr) is that of GPAW's command line tool. GPAW's null device
    # for text fails when its buffer is full, which the third basis or so of a process fills.
    return BasisMaker(atom, name=f"{shift:g}eV").generate(
        zeta, polarization, energysplit=shift, rcutmax=16.0, txt=io.StringIO()
    )


def gpaw_basis(element: ElementBasis):
    """Rebuild GPAW's basis object from the text in the basis table, with no file on disk.

    Raises:
        DataError: the text is no basis file, or one of other shells than the table's.
    """
    from gpaw.basis_data import Basis as BasisFile
    from gpaw.basis_data import BasisSetXMLParser

    class Parser(BasisSetXMLParser):
        def startElement(self, name, attrs):
            if name == "radial_grid":
                counts = [int(attrs[key]) for key in ("n", "istart", "iend") if key in attrs]
                if not all(0 <= count <= _MOST_POINTS for count in counts):
                    raise ValueError(f"a radial grid of more than {_MOST_POINTS} points")
            super().startElement(name, attrs)

    symbol = chemical_symbols[element.number]
    parser = Parser(symbol, element.basis_name)
    expected = [(shell.l, round(shell.cutoff, 3)) for shell in element.shells]
    try:
        xml.sax.parseString(element.basis_text.encode(), parser)
        found = BasisFile(symbol, element.basis_name, bf_j=parser.bf_j, **parser._dct)
        shells = [(bf.l, None if bf.rc is None else round(bf.rc * Bohr, 3)) for bf in found.bf_j]
        if shells != expected:
            raise ValueError(f"shells (l, cutoff in Å) {shells}, the table has {expected}")
        if any(bf.phit_g is None or not np.isfinite(bf.phit_g).all() for bf in found.bf_j):
            raise ValueError("radial functions that are not finite")
    except Exception as error:  # of many kinds, by what stands in its place
        raise DataError(
            f"basis/element/basis_text: expected the basis file of {symbol} ({' '.join(str(error).split())}); "
            "make the store anew"
        ) from None
    return found


def gpaw_arguments(basis: Basis) -> dict:
    """Arguments ``setups`` and ``basis`` of GPAW that stand for a basis table."""
    symbols = {chemical_symbols[number]: element for number, element in basis.elements.items()}
    return {
        "setups": {symbol: (e.setup or "paw") + e.hubbard for symbol, e in symbols.items()},
        "basis": {symbol: gpaw_basis(element) for symbol, element in symbols.items()},
    }


def make_setups(basis: Basis):
    """Build GPAW's setups, one for each element of the table in its order.

    Raises:
        DataError: a PAW setup file of this machine is not the one that the table was made with, or there is none;
            or the table's own basis files are damaged.
    """
    from gpaw.setup import Setups
    from gpaw.xc import XC

    arguments = gpaw_arguments(basis)
    family = _matching_family(next(iter(basis.elements.values())))
    try:
        setups = Setups(list(basis.numbers), arguments["setups"], arguments["basis"], XC(family))
    except Exception as error:  # of many kinds: what is not found, and what is no setup
        names = ", ".join(f"{symbol}: {name}" for symbol, name in arguments["setups"].items())
        raise DataError(
            f"GPAW does not make the PAW setups of the basis table ({names}): {' '.join(str(error).split())}; install "
            "the gpaw-data that the labels were made with"
        ) from None
    for setup, element in zip(setups, basis.elements.values(), strict=True):
        found = getattr(
            setup, "fingerprint", None
        )  # pseudopotentials, which GPAW has as well, have none
        if found != element.fingerprint:
            raise DataError(
                f"the PAW setup {getattr(setup, 'filename', None)} has the fingerprint {found}, the basis "
                f"table says {element.fingerprint}: install the gpaw-data that the labels were made with"
            )
    return setups


def _matching_family(element: ElementBasis) -> str:
    """Functional whose setup of this element has the fingerprint of the table, else PBE."""
    from gpaw.setup_data import search_for_file

    symbol = chemical_symbols[element.number]
    for family in ("PBE", "LDA", "RPBE", "revPBE"):
        parts = (symbol, element.setup, family) if element.setup else (symbol, family)
        with contextlib.suppress(FileNotFoundError):
            _, source = search_for_file(".".join(parts))
            if hashlib.md5(source, usedforsecurity=False).hexdigest() == element.fingerprint:
                return family
    return "PBE"
