"""Checks what a project declares, before the loop is started. Imports no engine."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tidemill.alerting.routes import load_routes
from tidemill.alerting.webhooks.declared_hooks import load_hooks
from tidemill.data.repository.pipeline_file import pipeline_problems
from tidemill.errors import ConfigError
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.project import Project, ProjectFolder, load_project
from tidemill.retraining.policies import Policy, load_policies
from tidemill.scoring.schedules.schedule_rules import load_schedules
from tidemill.training.families.ready_families import GO_ON

__all__ = ["declaration_problems"]

T = TypeVar("T")


def declaration_problems(project: ProjectFolder) -> list[str]:
    """Return what is wrong with a project's declarations, one sentence each, for whoever starts the loop.

    These are ``params.yaml``, ``dvc.yaml``, ``webhooks.yaml``, and the files in ``monitoring/``. One that is
    wrong keeps the controller from doing that part of its rounds. A policy that misspells the name of its
    monitor is never set off.
    """
    problems: list[str] = []
    loaded = _read(project, lambda folder: load_project(folder.root), problems)
    problems += pipeline_problems(project.root)
    monitors = _read(project, load_monitors, problems)
    _read(project, load_routes, problems)
    policies = _read(project, load_policies, problems)
    _read(project, load_schedules, problems)
    _read(project, load_hooks, problems)
    if monitors is not None:
        problems += _unknown_monitors(project, monitors, policies or ())
    if loaded is not None:
        problems += _no_warm_start(loaded, policies or ())
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


def _no_warm_start(project: Project, policies: Sequence[Policy]) -> list[str]:
    """Say which policies ask for a warm start where there can be none.

    Of families of the project's own code only a turn can tell it, which then fails and names the family.
    """
    warm = [policy.name for policy in policies if policy.recipe.search == "warm"]
    cannot = [name for name in project.config.train.families if name not in GO_ON]
    why = ""
    if project.config.project.training is None and cannot:
        why = f"{', '.join(cannot)} in train.families cannot go on from an earlier model "
        why += f"({' and '.join(sorted(GO_ON))} can)"
    elif project.config.dataset.time is None or project.config.split.by != "time":
        why = "without a split by time it cannot be told which rows are new to the champion"
    path = project.root / "monitoring" / "policies.yaml"
    return [f"{path}: policy {name!r} has recipe.search: warm, but {why}" for name in warm if why]
