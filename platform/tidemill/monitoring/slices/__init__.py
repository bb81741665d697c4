"""Judges slices of a window apart: declared segments, and the worst ones that a search finds."""
