"""One score function a file: the formula and nothing else."""
