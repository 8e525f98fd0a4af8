"""The version of the package, and its name on the package index."""

VERSION = "0.1.0"
DISTRIBUTION = "attentive-nmt"
"""Argument of `pip install`; the name of the import is `nmt`."""
