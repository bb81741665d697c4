"""Fits the chosen model on all rows, and saves it."""
