"""Trained models prepared for translating."""
