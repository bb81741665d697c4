"""The flights project's own code: its DVC stages, its model families, its history for the demo."""
