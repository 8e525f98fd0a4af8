"""Layers that several parts are built from."""
