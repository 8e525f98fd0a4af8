"""Encoders, attention and decoders, and the one place where they are wired together."""
