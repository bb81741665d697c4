"""Batch scoring: score whole tables with a model version, on all cores and nodes, each row once."""
