"""Tells what asks for a turn: alerts, labels, age, schedules, new data."""
