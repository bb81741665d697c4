"""Makes, shows, compares and checks out versions of a project's data."""
