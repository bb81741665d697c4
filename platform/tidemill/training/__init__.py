"""Train models: split a training set by time, search over model families, and record everything."""
