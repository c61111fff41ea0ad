"""Loss, metrics and validation."""
