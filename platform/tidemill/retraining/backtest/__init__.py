"""Plays policies over a project's past: what they would have done, and what it would have been worth."""
