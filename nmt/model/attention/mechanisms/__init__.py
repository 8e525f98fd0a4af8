"""One mechanism a file: masking, normalising, reading."""
