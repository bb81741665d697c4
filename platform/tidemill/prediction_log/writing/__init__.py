"""Writes the prediction log: records on their way to disk, with personal values redacted."""
