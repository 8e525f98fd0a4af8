"""One update, and what hangs on it."""
