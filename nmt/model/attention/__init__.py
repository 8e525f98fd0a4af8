"""Attention: scores compare queries with keys, mechanisms turn energies into contexts."""
