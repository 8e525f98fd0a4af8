"""Comparison of systems: training of a grid with several seeds, tables, figures and a page."""
