"""Workers of `scripts/benchmark.py`: one system each, in a process of its own."""
