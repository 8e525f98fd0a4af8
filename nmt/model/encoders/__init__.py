"""One encoder a file; a file in this folder is found by its registered name."""
