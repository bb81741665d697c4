"""Read the prediction log: segments, compacted parts, and counts."""
