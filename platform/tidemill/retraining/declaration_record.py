"""What was found wrong with a project's declarations, kept until a file changes. Imports little.

Checking them takes importing pydantic, which takes longer than all else that `tidemill status` does.
"""

from collections.abc import Callable

from tidemill.files.remembered import digest_of, remembered
from tidemill.project import ProjectFolder
from tidemill.version import __version__

__all__ = ["known_problems"]

_DECLARATIONS = (
    "params.yaml",
    "dvc.yaml",
    "features.yaml",
    "monitoring/monitors.yaml",
    "monitoring/policies.yaml",
    "monitoring/routes.yaml",
    "monitoring/schedules.yaml",
    "webhooks.yaml",
)


def known_problems(project: ProjectFolder, check: Callable[[ProjectFolder], list[str]]) -> list[str]:
    """Return what is wrong with the declarations: as on record, or by checking them.

    Args:
        project: the project.
        check: checks them; called only if a file, or Tidemill, is another one than when the record was made.
    """
    digest = digest_of(__version__, project.root, _DECLARATIONS)
    found = remembered(project.home / "declarations.json", digest, lambda: check(project))
    return [str(problem) for problem in found]
