"""Runs the loop on historical data, with a replayed clock, real servers and real traffic."""
