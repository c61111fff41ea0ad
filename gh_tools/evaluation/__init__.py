"""Errors of predicted Hamiltonians and spectra against reference ones."""
