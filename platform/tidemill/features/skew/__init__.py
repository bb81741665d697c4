"""Compare served features with those that a training set would hold."""
