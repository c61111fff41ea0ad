"""Factors between the units of computations and those that are shown."""

MEV = 1e3  # meV in 1 eV
CM = 1e8  # Å in 1 cm
HARTREE = 27.2113845  # eV in 1 Hartree, of CODATA 2002, which FHI-aims and OpenMX go by
GIB = 2**30  # bytes in 1 GiB
