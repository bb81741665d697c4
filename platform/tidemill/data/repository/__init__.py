"""Git and DVC, as they are run: commands, content, remotes."""
