"""Kinds of vocabularies, and their files."""
