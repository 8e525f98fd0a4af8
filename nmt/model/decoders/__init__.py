"""Decoders, one file per decoder."""
