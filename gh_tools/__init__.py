"""Machine-learned LCAO Hamiltonians as a toolkit of Unix commands."""

__version__ = "0.1.0"
