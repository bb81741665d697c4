"""Serving: figures of the moment, replicas, jobs and batch schedules."""
