"""Measures the quality of answers, and compares served features with training features."""
