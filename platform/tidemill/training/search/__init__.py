"""Search over model families and their parameters with Ray Tune."""
