"""Turns of the loop as OpenLineage events."""
