"""The commands: one file each, options and one library call."""
