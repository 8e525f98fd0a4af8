"""One decoder a file: the order of looking and moving."""
