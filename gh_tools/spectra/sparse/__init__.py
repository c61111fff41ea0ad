"""Eigenvalues of large sparse H and S near the Fermi level, and kernel polynomials."""
