"""What a project declares of its data sets, and what can be inferred for it."""
