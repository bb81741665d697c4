"""How good answers were, and whether what was served is what training would have seen."""
