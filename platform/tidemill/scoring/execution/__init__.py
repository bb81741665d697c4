"""Run a batch scoring: plan, feature lookup, workers."""
