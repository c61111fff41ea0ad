"""Prediction of Hamiltonians by a trained model."""
