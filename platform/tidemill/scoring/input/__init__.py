"""What a batch scoring reads: places, files, fragments, rows."""
