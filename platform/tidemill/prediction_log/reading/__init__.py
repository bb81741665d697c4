"""Reads the prediction log: files of both kinds, and counts."""
