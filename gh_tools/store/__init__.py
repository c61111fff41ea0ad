"""Zarr stores: schema, reading, publishing by rename, provenance."""
