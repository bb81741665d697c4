"""Traces lineage: one chain of records from the data to a prediction, read in both directions."""
