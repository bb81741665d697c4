"""Turns that one process records and another one makes, as a RayJob."""
