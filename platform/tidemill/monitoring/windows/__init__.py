"""Calculates the time windows of monitors."""
