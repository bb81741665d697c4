"""Keeps the prediction log in shape: compaction, retention, rewriting, one at a time."""
