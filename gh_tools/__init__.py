"""Machine-learned LCAO Hamiltonians as a toolkit of Unix commands, and from Python.

``gh_tools.open`` opens any store, ``gh_tools.Model`` predicts, ``gh_tools.label`` runs DFT,
``gh_tools.convergence`` tells how exact it is, and ``gh_tools.models`` names the models that come with it.
"""

from typing import Any

from gh_tools.version import __version__ as __version__

__all__ = ["Model", "convergence", "label", "models", "open"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: commands that answer at once need none of it.
    if name in __all__:
        from gh_tools import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
