"""``tidemill deploy rollout``: a version's way to champion, by steps."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.options import AsJson, ProjectDir, moment, not_blank
from tidemill.cli.output import emit, print_indented, print_wrapped
from tidemill.cli.progress_lines import progress
from tidemill.cli.serving.shares import as_percent, read_share
from tidemill.clock import SystemClock
from tidemill.errors import GateRefused, UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_progress", "rollout"]


_Version = Annotated[
    str | None,
    typer.Argument(
        help="Number or alias (default: follow the one under way, with --watch).", show_default=False
    ),
]
_Steps = Annotated[
    str | None,
    typer.Option(help="Shares (default: serve.rollout of params.yaml).", show_default=False),
]
_Minutes = Annotated[float | None, typer.Option(help="Least time of each step.", min=0, show_default=False)]
_Requests = Annotated[
    int | None, typer.Option(help="Rows the canary must answer in each step.", min=0, show_default=False)
]
_Watch = Annotated[bool, typer.Option(help="Stay until it ends, checking here instead of in the controller.")]
_AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="WHEN",
        help="Event time from which on answers count, for history that is replayed (default: now).",
        show_default=False,
    ),
]


def rollout(
    version: _Version = None,
    steps: _Steps = None,
    minutes: _Minutes = None,
    requests: _Requests = None,
    watch: _Watch = False,
    every: Annotated[float, typer.Option(help="Seconds between two checks with --watch.", min=0.1)] = 5.0,
    project: ProjectDir = None,
    reason: Annotated[
        str, typer.Option(help="Why; recorded with it.", callback=not_blank)
    ] = "rolled out by hand",
    as_of: _AsOf = None,
    json: AsJson = False,
) -> None:
    """Make a version the champion by steps.

    Each step is checked; if a check fails, the version is taken back.
    The controller (`tidemill up`) takes it from step to step; with --watch, this command does.
    """
    from tidemill.project import load_project
    from tidemill.rollouts.rollout_begin import begin
    from tidemill.state import open_state

    loaded = load_project(project)
    state = open_state(loaded.state_url)
    if version is None and not watch:
        raise UsageError("name the version to roll out", hint="or follow the one under way with --watch")
    if version is not None:
        plan = _plan(loaded.config.serve.rollout, steps, minutes, requests)
        now, since = SystemClock().now(), moment(as_of) if as_of else None
        begun = begin(loaded, state, version, loaded.settings.who, reason, now, plan, since)
    else:
        begun = _running(state, loaded.model)
    if watch:
        begun = _watch(loaded, state, begun, every, json)
    if begun.status in ("rolled_back", "stopped"):
        raise GateRefused(
            f"version {begun.version} did not become champion: {begun.outcome}",
            hint="`tidemill deploy show --json` has the checks of each step",
        )
    emit(_facts(begun), json, lambda console: _render(console, begun, loaded.config.project.task))


def render_progress(console: "Console", rollout: dict[str, Any]) -> None:
    """Show how far a rollout came, why each step ended, and all checks of the last.

    Args:
        console: to print on.
        rollout: of `tidemill.rollouts.deployment_status.describe_deployments`.
    """
    print_wrapped(console, f"rollout {rollout['id']} of version {rollout['version']}: {rollout['says']}")
    if rollout.get("note"):
        print_indented(console, rollout["note"])
    checks = rollout["checks"]
    for place, step in enumerate(checks, 1):
        last = place == len(checks)
        print_indented(console, f"at {as_percent(step['share'])}" + (":" if last else f": {step['reason']}"))
        for sentence in step["checks"] if last else ():
            print_wrapped(console, f"    {sentence}", "    ")


def _running(state: Any, model: str) -> Any:
    from tidemill.rollouts.rollout_begin import running

    found = running(state, model)
    if found is None:
        raise UsageError(
            f"no version of {model} is being rolled out",
            hint="name a version to begin: `tidemill deploy rollout VERSION`",
        )
    return found


def _render(console: "Console", begun: Any, task: str) -> None:
    from tidemill.rollouts.unjudged_steps import unjudged_note

    shares = ", ".join(as_percent(step["share"]) for step in begun.plan["steps"])
    under_way = f"version {begun.version} is being rolled out: {shares}; `tidemill deploy show` follows it"
    print_wrapped(console, f"✓ {begun.outcome or under_way}")
    if begun.outcome is None and (note := unjudged_note(task, begun.plan)):
        print_indented(console, note)


def _plan(plan: Any, steps: str | None, minutes: float | None, requests: int | None) -> Any:
    """Return the project's plan with what the options change."""
    from pydantic import ValidationError

    from tidemill.files.field_problems import field_problems
    from tidemill.project.serve_config import RolloutConfig

    values = plan.recorded()
    if steps is not None:
        values["steps"] = [{"share": read_share(share)} for share in steps.split(",")]
    for step in values["steps"]:
        step |= {} if minutes is None else {"minutes": minutes}
        step |= {} if requests is None else {"requests": requests}
    try:
        return RolloutConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(
            f"--steps {steps}: {field_problems(error.errors())[0][1]}", hint="like --steps 1%,10%,50%,100%"
        ) from error


def _watch(project: Any, state: Any, begun: Any, every: float, quiet: bool) -> Any:
    """Take it from step to step until it ends; the controller may do so at the same time."""
    from tidemill.rollouts.rollout import advance, read_rollout

    with progress() as tell:
        total = len(begun.plan["steps"])
        while True:
            step = advance(project, state, SystemClock().now())
            current = read_rollout(state, begun.id)
            if current.finished_at is not None:
                return current
            share = as_percent(current.plan["steps"][current.step]["share"])
            message = step.verdict.reason if step is not None and step.verdict is not None else ""
            tell("rollout", f"{share}: {message}", current.step, total)
            time.sleep(every)


def _facts(row: Any) -> dict[str, Any]:
    return {
        name: getattr(row, name)
        for name in ("id", "model", "version", "champion", "status", "step", "outcome", "checks", "plan")
    }
