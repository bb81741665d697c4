"""From a training set to a model: splits by time, search over model families, everything on record."""
