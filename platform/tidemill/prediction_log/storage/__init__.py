"""How the prediction log lies on disk: segments of JSON lines, compacted parquet parts, manifests, places."""
