"""What `scripts/benchmark.py` is made of; each measure stands alone, for other scripts to use."""
