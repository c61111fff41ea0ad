"""Data, loss, metrics and the training loop."""
