"""Finds, checks and loads a user's project; makes a new one."""

from tidemill.project.config import ProjectConfig
from tidemill.project.load import Project, find_project, load_project

__all__ = ["Project", "ProjectConfig", "find_project", "load_project"]
