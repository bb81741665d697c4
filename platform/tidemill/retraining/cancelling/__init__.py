"""Cancelling a turn: the act, and how the process that makes the turn learns of it."""
