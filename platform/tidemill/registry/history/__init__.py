"""Who served when: the alias journal, and its reconciliation with the registry."""
