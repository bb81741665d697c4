"""How groups are represented in data, and how their label rates differ."""
