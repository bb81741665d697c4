"""``tidemill deploy``: versions beside the champion, and their way to its place."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, Now, ProjectDir, moment, not_blank
from tidemill.cli.output import emit, format_moment
from tidemill.cli.serving.rollout import render_progress, rollout
from tidemill.cli.serving.shares import as_percent, read_share
from tidemill.clock import SystemClock
from tidemill.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_to", "deploy_app"]

deploy_app = typer.Typer(
    no_args_is_help=True,
    help="Serve versions beside the champion.",
    epilog="Example: tidemill deploy rollout 4 --watch",
)

Version = Annotated[str, typer.Argument(help="Number or alias of a version.", show_default=False)]
Share = Annotated[str, typer.Option(help="Of the keys: 10% or 0.1.")]
Reason = Annotated[str, typer.Option(help="Why; recorded with it.", callback=not_blank)]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(deploy_app, name="deploy")


@deploy_app.command(epilog="Example: tidemill deploy canary 4 --share 10%")
def canary(
    version: Version,
    share: Share = "5%",
    project: ProjectDir = None,
    reason: Reason = "deployed by hand",
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Let a version answer a share of the keys.

    They are always the same keys; the champion answers the rest.
    """
    _deploy("canary", version, share, "", project, reason, as_of, json)


@deploy_app.command(epilog="Example: tidemill deploy shadow 4")
def shadow(
    version: Version,
    share: Share = "100%",
    project: ProjectDir = None,
    reason: Reason = "deployed by hand",
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Let a version answer copies of the requests.

    Its answers go to the prediction log only; clients never see them.
    """
    _deploy("shadow", version, share, "", project, reason, as_of, json)


@deploy_app.command(epilog="Example: tidemill deploy challenger 4")
def challenger(
    version: Version,
    project: ProjectDir = None,
    reason: Reason = "deployed by hand",
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Compare a version with the champion on the log.

    Replicas do not load it. `tidemill deploy report challenger` shows the comparison.
    """
    _deploy("challenger", version, "100%", "", project, reason, as_of, json)


@deploy_app.command("ab", epilog="Example: tidemill deploy ab 4 --name calmer-autumn --share 50%")
def experiment(
    version: Version,
    name: Annotated[str, typer.Option(help="Of the experiment.", show_default=False)],
    share: Share = "50%",
    project: ProjectDir = None,
    reason: Reason = "deployed by hand",
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Begin an A/B test of a version.

    It answers a share of the keys, and is compared with the champion.
    """
    _deploy("ab", version, share, name, project, reason, as_of, json)


@deploy_app.command(
    epilog="Examples: tidemill deploy stop canary   ·   tidemill deploy stop --all",
)
def stop(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="canary, shadow, challenger, or of experiments.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    project: ProjectDir = None,
    reason: Reason = "stopped by hand",
    json: AsJson = False,
) -> None:
    """Stop versions that serve beside the champion.

    A rollout ends with its canary.
    """
    from tidemill.project import load_project
    from tidemill.registry.deployments import stop as take_away
    from tidemill.state import open_state

    if bool(names) == everything:
        raise UsageError("name what to stop, or give --all", hint="`tidemill deploy show` lists the names")
    loaded = load_project(project)
    stopped = take_away(loaded, open_state(loaded.state_url), names or (), reason, loaded.settings.who)

    def render(console: "Console") -> None:
        for row in stopped:
            console.print(f"✓ {row.name}: version {row.version} no longer answers")
        if not stopped:
            console.print("no version was deployed beside the champion")

    emit({"stopped": [_facts(row) for row in stopped]}, json, render)


@deploy_app.command(epilog="Example: tidemill deploy show --json")
def show(project: ProjectDir = None, json: AsJson = False) -> None:
    """Show which versions answer, and the rollout.

    It shows the champion, the versions beside it, which replicas have loaded them, and a rollout's progress.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.rollouts.deployment_status import describe_deployments

    folder, records = open_reading(project)
    found = describe_deployments(folder, records, SystemClock().now())

    def render(console: "Console") -> None:
        console.print(f"{folder.model}: champion {found['champion'] or 'none'}")
        table = Listing("name", "version", "share", "answered", "failed", "since", "by", "replicas")
        for one in found["deployments"]:
            table.add_row(
                one["name"],
                one["version"],
                "–" if one["kind"] == "challenger" else as_percent(one["share"]),
                f"{one['answered']:,}",
                f"{one['failed']:,}" + (f" (+{one['dropped']:,} dropped)" if one["dropped"] else ""),
                format_moment(one["at"]),
                one["actor"],
                f"{one['loaded']} of {one['replicas']}" if one["kind"] != "challenger" else "–",
            )
        if found["deployments"]:
            console.print(table)
        else:
            console.print("no version is deployed beside it")
        for problem in found["problems"]:
            console.print(f"! {problem}")
        if found["rollout"]:
            render_progress(console, found["rollout"])

    emit(found, json, render)


@deploy_app.command(
    epilog="Examples: tidemill deploy report   ·   tidemill deploy report calmer-autumn --json",
)
def report(
    name: Annotated[
        str | None,
        typer.Argument(help="Default: all that is beside the champion now.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Event time (default: its first share).", show_default=False),
    ] = None,
    project: ProjectDir = None,
    as_of: Now = None,
    json: AsJson = False,
) -> None:
    """Compare the versions beside the champion with it.

    It compares quality, scores and decisions, with 95 % intervals.
    """
    from tidemill.cli.serving.comparisons import render_comparison
    from tidemill.project import load_project
    from tidemill.registry.deployments import live
    from tidemill.rollouts.experiment_reports import find_deployment
    from tidemill.rollouts.experiment_reports import report_deployment as compare
    from tidemill.state import open_state

    loaded = load_project(project)
    state = open_state(loaded.state_url)
    rows = [find_deployment(state, loaded.model, name)] if name else live(state, loaded.model)
    now = moment(as_of) if as_of else SystemClock().now()
    start = moment(since) if since else None
    found = [(row, compare(loaded, state, row, now, start)) for row in rows]

    def render(console: "Console") -> None:
        for row, one in found:
            render_comparison(console, row.name, one)
        if not found:
            console.print(
                "no version is deployed beside the champion: `tidemill deploy --help` shows how to deploy one"
            )

    facts = [{"name": row.name, "status": row.status, **_plain(one)} for row, one in found]
    emit({"model": loaded.model, "reports": facts}, json, render)


deploy_app.command(
    epilog="Examples: tidemill deploy rollout 4   ·   tidemill deploy rollout 4 --steps 1%,50%,100% --watch",
)(rollout)


def _deploy(
    kind: str,
    version: str,
    share: str,
    name: str,
    project: Path | None,
    reason: str,
    as_of: str | None,
    json: bool,
) -> None:
    from tidemill.project import load_project
    from tidemill.registry.deployments import DeployRequest, deploy
    from tidemill.state import open_state

    loaded = load_project(project)
    wanted = DeployRequest(kind, version, read_share(share), loaded.settings.who, reason, name)
    now = moment(as_of) if as_of else SystemClock().now()
    row = deploy(loaded, open_state(loaded.state_url), wanted, now)

    def render(console: "Console") -> None:
        says = {
            "canary": f"answers {as_percent(row.share)} of the keys",
            "ab": f"answers {as_percent(row.share)} of the keys in the experiment {row.name}",
            "shadow": f"gets a copy of {as_percent(row.share)} of the traffic",
            "challenger": "is compared on the log: `tidemill deploy report challenger`",
        }
        console.print(f"✓ {row.model} {row.version} {says[kind]} (champion: {row.champion})")

    emit(_facts(row), json, render)


def _facts(row: Any) -> dict[str, Any]:
    return {
        name: getattr(row, name)
        for name in (
            "id",
            "model",
            "kind",
            "name",
            "version",
            "champion",
            "share",
            "status",
            "actor",
            "reason",
        )
    }


def _plain(found: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(found)
