"""What replicas tell about themselves: metrics, traces, counters, heartbeats."""
