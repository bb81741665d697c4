"""Replaces files atomically, locks files between processes, and reads YAML declarations."""
