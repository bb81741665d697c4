"""Fits a recorded model once more, from its code and data of that time, and says whether it is the same."""
