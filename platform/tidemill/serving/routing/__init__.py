"""Decide which version answers a request: traffic split, model swap, shadows."""
