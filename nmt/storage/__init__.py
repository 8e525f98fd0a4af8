"""Files of a run: the run directory, checkpoints, and atomic writes with checksums."""
