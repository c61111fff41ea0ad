"""Sparse LDLᵀ with inertia: one interface, several libraries."""

from gh_tools.spectra.sparse.factor.choose import ENGINES, available_engines, make_engine
from gh_tools.spectra.sparse.factor.engine import Engine

__all__ = ["ENGINES", "Engine", "available_engines", "make_engine"]
