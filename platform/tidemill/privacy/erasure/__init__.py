"""Erases one subject from all stores, step by step, and records the erasure."""
