"""Matrices of other programs: one file a format, `table` lists them."""
