"""Commands about people: who may log in, and what they may do."""
