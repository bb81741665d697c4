"""The SQL of pages: each query reads what it shows, by an index, and no more."""
