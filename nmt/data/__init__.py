"""Text data: vocabularies, corpora, the token cache, batch plans and loading."""
