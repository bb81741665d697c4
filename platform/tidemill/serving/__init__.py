"""Serving: the prediction API, the models behind it, the prediction log, and the stack that runs them."""
