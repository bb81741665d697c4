"""Commands about serving: the stack, deployments, keys, jobs, the log, batch scoring."""
