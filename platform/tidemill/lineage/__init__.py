"""Where anything comes from and what came of it: one chain from the data to a prediction."""
