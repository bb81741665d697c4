"""Observe replicas: metrics, traces, counters."""
