"""Trackers: destinations of the reports of a training, besides `metrics.jsonl`."""
