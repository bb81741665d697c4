"""Measures bias in data: shares of groups, and differences of their label rates."""
