"""Score functions, one file per score."""
