"""Finds, checks and loads a user's project; makes a new one."""

from tidemill.project.project import Project, find_project, load_project
from tidemill.project.project_config import ProjectConfig

__all__ = ["Project", "ProjectConfig", "find_project", "load_project"]
