"""Sparse LDLᵀ with inertia: one interface, several libraries."""

from gh_tools.spectra.sparse.factor.engine import ENGINES, Engine, available_engines, make_engine

__all__ = ["ENGINES", "Engine", "available_engines", "make_engine"]
