"""Lists, shows and compares runs; reads a local SQLite file without importing MLflow."""
