"""The networks, one layer a file."""
