"""Alerts: their states, what people do about them, and who is told."""
