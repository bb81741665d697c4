"""Alerts: what fires, who has it, what was sent or not, silences, and why nothing fired."""
