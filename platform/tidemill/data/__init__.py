"""Versions a project's data (DVC), and validates it before use (pandera)."""
