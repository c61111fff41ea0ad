"""Eigenvalues, densities of states, Fermi level and carriers."""
