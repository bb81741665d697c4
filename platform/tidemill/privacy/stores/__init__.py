"""Finds and removes one subject's rows, with one module for each kind of store."""
