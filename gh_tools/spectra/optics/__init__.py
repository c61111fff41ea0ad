"""Optical spectra in the picture of independent particles."""
