"""Which stretch of time a monitor looks at."""
