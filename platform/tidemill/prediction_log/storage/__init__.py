"""Store the prediction log: segments of JSON lines, compacted parquet parts, manifests, places."""
