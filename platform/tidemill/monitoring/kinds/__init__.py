"""Judges a window, one module for each kind of monitor."""
