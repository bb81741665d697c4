"""Read the input of a batch scoring: places, files, fragments, rows."""
