"""Turns fitted classifiers into ONNX: the same answers within microseconds."""
