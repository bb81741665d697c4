"""Policies that turn alerts into retrainings, and the controller that turns the loop."""
