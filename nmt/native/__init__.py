"""Kernels in C for the steps of decoding on a CPU between the matrix products."""
