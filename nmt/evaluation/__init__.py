"""How good a translation is, and what it was read from."""
