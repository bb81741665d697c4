"""Copies what a project's installation keeps into one archive, verifies it, and brings it back."""
