"""Text in: vocabularies, corpora, the token cache and batches."""
