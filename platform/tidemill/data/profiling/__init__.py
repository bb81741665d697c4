"""Reads a table from wherever it lies, and says what its columns are like."""
