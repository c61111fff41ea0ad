"""Labelled structures and their split into training, validation and test set."""
