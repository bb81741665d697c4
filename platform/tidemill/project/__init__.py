"""Finds, checks and loads a user's project, and creates a new one."""

from tidemill.project.project import Project, ProjectFolder, find_project, load_project, open_folder

__all__ = ["Project", "ProjectFolder", "find_project", "load_project", "open_folder"]
