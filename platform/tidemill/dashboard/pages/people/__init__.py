"""Pages about people: one's own account, everybody's roles, tokens, and the projects that these are for."""
