"""The prediction log: the durable store of answered predictions and of their labels."""
