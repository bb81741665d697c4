"""Join predictions with their labels, and import labels in bulk."""
