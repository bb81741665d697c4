"""Reads the sources of lineage: records, runs, data versions, the prediction log."""
