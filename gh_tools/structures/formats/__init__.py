"""Formats of structures' files: what in a file ASE would read as something else than what is meant."""
