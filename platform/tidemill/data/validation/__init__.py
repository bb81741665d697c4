"""Validates data sets by their declared rules; bad rows are set aside with their reasons."""
