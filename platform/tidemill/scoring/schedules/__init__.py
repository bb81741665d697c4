"""Run batch scoring on a schedule."""
