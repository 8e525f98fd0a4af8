"""Kernels in C for elementwise steps of decoding on a CPU."""
