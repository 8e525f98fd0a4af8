"""Trained models compiled for decoding: faster than the training module, and never trained."""
