"""Webhooks: tells other systems of each change of the registry, signed, at least once, in order."""
