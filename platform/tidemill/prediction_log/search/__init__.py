"""Finds single records in the prediction log, counts them by version, and blanks them for good."""
