"""Data: versions that can be gone back to (DVC), and validation before use (pandera)."""
