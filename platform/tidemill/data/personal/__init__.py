"""Handles personal data in tables: detection, pseudonyms, tombstones of erased subjects."""
