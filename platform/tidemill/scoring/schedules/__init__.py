"""Batch scoring by schedule."""
