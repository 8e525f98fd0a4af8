"""Worker processes of the benchmarks, one per system."""
