"""The web face: every page has a JSON twin under the same permissions."""
