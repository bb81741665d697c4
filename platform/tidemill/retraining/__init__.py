"""Turns alerts into retrainings by policies, and runs the controller of the loop."""
