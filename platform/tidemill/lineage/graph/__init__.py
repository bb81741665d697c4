"""Builds the lineage graph: nodes, edges, and the walk up and down."""
