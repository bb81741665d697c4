"""Monitors a model's inputs and answers: windows, drift, quality, alerts."""
