"""Prediction of Hamiltonians at any size."""
