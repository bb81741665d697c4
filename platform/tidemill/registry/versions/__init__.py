"""Model versions: their records and files, and how they are loaded."""
