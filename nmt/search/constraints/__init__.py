"""Constraints on translations: a prefix, required terms and forbidden phrases.

All of them hold for the text of a translation, however it is segmented into tokens.
"""
