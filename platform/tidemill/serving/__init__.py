"""Serve models: the prediction API, the models behind it, slow jobs, and the stack that runs them."""
