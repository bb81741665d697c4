"""The chain as a graph: nodes, edges, the walk up and down."""
