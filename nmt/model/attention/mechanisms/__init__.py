"""Attention mechanisms, one file per mechanism."""
