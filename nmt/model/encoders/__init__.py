"""Encoders, one file per encoder."""
