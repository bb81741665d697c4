"""What a prediction is: its target, its answer, its metrics. Every other room asks a `Task`."""
