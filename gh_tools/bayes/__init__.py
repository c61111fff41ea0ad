"""Bayesian regression of a result on the design variables."""
