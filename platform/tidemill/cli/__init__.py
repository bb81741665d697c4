"""The command line: it parses, calls one function below, and shows."""
