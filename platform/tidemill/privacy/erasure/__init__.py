"""Erases one subject everywhere, step by step, and keeps a record of it."""
