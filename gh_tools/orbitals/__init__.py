"""Basis tables, blocks, irreps, pairs and Bloch sums."""
