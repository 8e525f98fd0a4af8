"""Evaluation of translations: metrics, significance, alignment error rate, attention plots."""
