"""Batch scoring: whole tables through a model version, on all cores and nodes, each row once."""
