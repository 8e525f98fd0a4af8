"""Examination of sentence pairs: faults and their report, cleaning, and division into parts."""
