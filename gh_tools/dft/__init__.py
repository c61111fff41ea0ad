"""GPAW, imported nowhere else: labels, basis sets and the overlap."""
