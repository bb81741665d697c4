"""Watches what a model is asked and what it answers: windows, drift, quality, alerts."""
