"""Queries of the records for the pages, each limited to a page of rows."""
