"""Shift and scale of irreps, the on-site energy model, and their fit."""
