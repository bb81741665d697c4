"""Reads runs that other tools recorded, TensorBoard and Weights & Biases, and records them in MLflow."""
