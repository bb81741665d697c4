"""Maintain the prediction log: compaction, retention and rewriting, one process at a time."""
