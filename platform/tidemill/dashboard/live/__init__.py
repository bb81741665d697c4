"""What changes by the second: the figures of serving, and the events that refresh pages."""
