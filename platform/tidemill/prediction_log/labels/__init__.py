"""Joins predictions with their labels, and takes labels in bulk."""
