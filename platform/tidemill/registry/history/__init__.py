"""The history of champions: the journal of alias moves, and its reconciliation with the registry."""
