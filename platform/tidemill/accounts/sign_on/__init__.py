"""Logins by providers of identities: which there are, and whom they vouch for."""
