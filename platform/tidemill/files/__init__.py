"""Files: replaced whole or not at all, locked by one process at a time, and read as declarations."""
