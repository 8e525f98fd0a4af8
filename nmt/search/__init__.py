"""Search over the step function of a model, and translation of text."""
