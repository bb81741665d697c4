"""Keeps what a training was made from, and what came out of it, in MLflow."""
