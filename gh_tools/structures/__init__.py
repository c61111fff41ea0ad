"""Recipes that make atomic structures."""
