"""The version of gh-tools, in its one place."""

__version__ = "0.1.0"
