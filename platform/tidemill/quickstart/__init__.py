"""Makes a project out of a table: profile, decisions, thresholds, files."""
