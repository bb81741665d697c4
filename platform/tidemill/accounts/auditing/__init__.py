"""The audit log as a whole: its chain, reading, export and retention."""
