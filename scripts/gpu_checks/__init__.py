"""The checks and measures of `gpu_check.py`; each runs as `python -m gpu_checks NAME`."""
