"""Workers of `benchmarks/benchmark.py`: one system each, in a process of its own."""
