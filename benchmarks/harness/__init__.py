"""Texts, worker processes and result files of the benchmarks."""
