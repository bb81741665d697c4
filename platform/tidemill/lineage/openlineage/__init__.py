"""Sends turns of the loop as OpenLineage events."""
