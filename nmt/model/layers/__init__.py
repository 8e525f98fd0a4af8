"""Layers that encoders, attention and decoders are built from."""
