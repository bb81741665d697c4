"""Runs git and DVC: commands, content, remotes."""
