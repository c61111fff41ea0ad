"""Samples, their cache, and batches."""
