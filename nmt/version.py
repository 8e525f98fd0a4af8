"""The version of the package, its name on the package index, and its extras."""

VERSION = "0.1.0"
DISTRIBUTION = "attentive-nmt"
"""Argument of `pip install`; the name of the import is `nmt`."""


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
