"""Files: replaced whole or not at all (`atomic`), held by one process at a time (`locks`)."""
