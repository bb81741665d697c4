"""Imports labels made by people, gives them types, and joins them as of a moment."""
