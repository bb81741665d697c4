"""Reads what a project declares about its data sets."""
