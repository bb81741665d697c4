"""Fit the chosen model on all rows, and save it."""
