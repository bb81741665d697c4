"""Opens tables in files, reads them in batches, and compares them."""
