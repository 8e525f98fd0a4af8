"""Readers of sentence pairs in the formats that people have, for `nmt-init`."""
