"""Versions of a project's data: made, shown, compared, checked out."""
