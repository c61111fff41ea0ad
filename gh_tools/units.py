"""Factors between the units of computations and those that are shown."""

MEV = 1e3  # meV in 1 eV
CM = 1e8  # Å in 1 cm
GIB = 2**30  # bytes in 1 GiB
