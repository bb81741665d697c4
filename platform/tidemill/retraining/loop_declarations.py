"""Checks what a project declares, before the loop is started. Imports no engine."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tidemill.alerting.routes import load_routes
from tidemill.data.repository.pipeline_file import pipeline_problems
from tidemill.errors import ConfigError
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.project import ProjectFolder, load_project
from tidemill.retraining.policies import Policy, load_policies
from tidemill.scoring.schedules.schedule_rules import load_schedules

__all__ = ["declaration_problems"]

T = TypeVar("T")


def declaration_problems(project: ProjectFolder) -> list[str]:
    """Return what is wrong with a project's declarations, one sentence each, for whoever starts the loop.

    These are ``params.yaml``, ``dvc.yaml``, and the files in ``monitoring/``. One that is wrong keeps the
    controller from doing that part of its rounds. A policy that misspells the name of its monitor is never
    set off.
    """
    problems: list[str] = []
    _read(project, lambda folder: load_project(folder.root), problems)
    problems += pipeline_problems(project.root)
    monitors = _read(project, load_monitors, problems)
    _read(project, load_routes, problems)
    policies = _read(project, load_policies, problems)
    _read(project, load_schedules, problems)
    if monitors is not None:
        problems += _unknown_monitors(project, monitors, policies or ())
    return problems


def _read(project: ProjectFolder, load: Callable[[ProjectFolder], T], problems: list[str]) -> T | None:
    try:
        return load(project)
    except ConfigError as error:
        problems.append(f"{error} ({error.hint})" if error.hint else str(error))
        return None


def _unknown_monitors(
    project: ProjectFolder, monitors: Sequence[Monitor], policies: Sequence[Policy]
) -> list[str]:
    declared = {monitor.name for monitor in monitors}
    path = project.root / "monitoring" / "policies.yaml"
    return [
        f"{path}: policy {policy.name!r} listens to the monitor {name!r}, which monitors.yaml does not "
        f"declare (it declares: {', '.join(sorted(declared)) or 'none'})"
        for policy in policies
        for name in policy.monitors or ()
        if name not in declared
    ]
