"""Model versions: what is kept of them, and how they are loaded."""
