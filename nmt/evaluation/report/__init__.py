"""The attention report: one HTML page for the translations of a whole test set."""
