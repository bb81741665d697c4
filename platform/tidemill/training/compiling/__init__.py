"""Compile fitted classifiers to ONNX, which gives the same answers within microseconds."""
