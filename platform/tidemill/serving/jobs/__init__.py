"""Slow predictions: many instances, submitted at once and answered when a worker has the time."""
