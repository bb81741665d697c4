"""Tables in files: opened, read in batches, compared."""
