"""The trained model: its store, network and numerical settings."""
