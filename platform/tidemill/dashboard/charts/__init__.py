"""Pictures made by the server as SVG; each has a table with the same numbers."""
