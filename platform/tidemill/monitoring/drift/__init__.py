"""Measures the drift of a window's columns, and decides what is alarming."""
