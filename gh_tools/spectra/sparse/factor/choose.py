"""Which libraries factorise, and which is taken."""

from __future__ import annotations

import functools
import importlib

from gh_tools.errors import MissingExtraError
from gh_tools.spectra.sparse.factor.engine import Engine

# In the order of preference, with the module that each needs. See docs/how-to/spectra.md for what they
# were measured to take.
ENGINES = {"pardiso": "pypardiso", "mumps": "mumps", "superlu": "scipy"}


def available_engines() -> list[str]:
    """Return the engines whose library is installed and can be loaded, the preferred one first."""
    return [name for name, module in ENGINES.items() if _loads(module)]


@functools.cache
def _loads(module: str) -> bool:
    # pypardiso without MKL where it looks for it is installed, and cannot be imported.
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


def make_engine(name: str | None, memory: int, *, single: bool = False) -> Engine:
    """Return an engine.

    Args:
        name: as in `ENGINES`; None for the best that is installed.
        memory: bytes that a factorisation may take.
        single: whether single precision will do; MUMPS takes no advantage of it.

    Raises:
        MissingExtraError: its library is not installed.
    """
    installed = available_engines()
    name = installed[0] if name is None else name
    if name not in installed:
        raise MissingExtraError(
            f"the engine {name} needs the package {ENGINES[name]!r}: "
            f"pip install 'gh-tools[{name}]', or use --engine {installed[0]}"
        )
    if name == "pardiso":
        from gh_tools.spectra.sparse.factor.pardiso import Pardiso

        return Pardiso(memory, single)
    if name == "mumps":
        from gh_tools.spectra.sparse.factor.mumps import Mumps

        return Mumps(memory)
    from gh_tools.spectra.sparse.factor.superlu import SuperLU

    return SuperLU(memory, single)
