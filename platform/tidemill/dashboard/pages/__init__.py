"""One module a page: a frozen value, the function that makes it, and the acts that start from it."""
