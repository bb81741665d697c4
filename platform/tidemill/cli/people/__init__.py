"""Commands about people: who may log in, what they may do, and what they did."""
