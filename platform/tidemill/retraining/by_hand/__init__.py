"""What a person asks for on the dashboard, done in a process of its own."""
