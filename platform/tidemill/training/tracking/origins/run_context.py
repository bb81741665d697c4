"""Tags plain MLflow runs inside a project with what they are made from.

MLflow finds `ProjectRunContext` by the entry point ``mlflow.run_context_provider``, and imports this module
in every process that imports MLflow: what it needs itself is imported when a run begins inside a project.
"""

import sys
from pathlib import Path

__all__ = ["ProjectRunContext", "folder_of_run"]


class ProjectRunContext:
    """What MLflow asks when a run begins: whether it is inside a project, and if so for the tags.

    MLflow turns an exception into a warning, so that no run fails by it.
    """

    def in_context(self) -> bool:
        """Return whether there may be a project; outside of one nothing else is done or imported."""
        return folder_of_run() is not None

    def tags(self) -> dict[str, str]:
        """Return the tags of a run that begins now."""
        folder = folder_of_run()
        if folder is None:
            return {}
        from tidemill.training.tracking.origins.origin_capture import origin_tags

        return origin_tags(folder)


def folder_of_run() -> Path | None:
    """Return the nearest folder with a ``params.yaml``: above the working folder, else above the script."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    starts = [Path.cwd()]
    if script is not None and not Path(script).resolve().is_relative_to(Path(sys.prefix).resolve()):
        starts.append(Path(script).resolve().parent)  # not a program of an environment inside a project
    for start in starts:
        for folder in (start, *start.parents):
            if (folder / "params.yaml").is_file():
                return folder
    return None
