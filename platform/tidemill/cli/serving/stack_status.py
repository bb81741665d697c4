"""``tidemill status``: the local stack, the champion, the replicas and the last turn."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.operations.costs import show_cost
from tidemill.cli.options import AsJson, ProjectDir
from tidemill.cli.output import emit, format_moment, out_console
from tidemill.cli.serving.turn_words import LastTurn, read_last_turn, turn_words
from tidemill.clock import SystemClock
from tidemill.errors import ConfigError, StackNotRunning

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tidemill.kubernetes.cluster_facts import ClusterFacts
    from tidemill.project import ProjectFolder
    from tidemill.state.watching_facts import WatchingFacts

__all__ = ["add_to", "show_stack"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill status --json   ·   tidemill status --ports   ·   tidemill status --cost"
    )(status)


def status(
    project: ProjectDir = None,
    ports: Annotated[
        bool, typer.Option("--ports", help="Show every port that the stack listens on, and who can reach it.")
    ] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Show the CPU time and cost of turns and versions.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show what runs, and with which version.

    It shows the stack, the champion, the version of each replica, and the last turn.
    """
    from tidemill.cli.reading import open_reading
    from tidemill.retraining.declaration_record import known_problems
    from tidemill.retraining.past_holds import why_over
    from tidemill.serving.runtime.stack_record import status_in
    from tidemill.state import record_queries
    from tidemill.state.watching_facts import watching_facts

    folder, records = open_reading(project)
    if cost:
        show_cost(folder, records, json)
        return
    running = status_in(folder.root)
    if ports:
        _show_ports(folder, running, json)
        return
    replicas = record_queries.replicas(records, folder.model, SystemClock().now()) if running else []
    turn = read_last_turn(folder, records)
    decision = next(iter(record_queries.policy_decisions(records, folder.model, 1)), None)
    problems = known_problems(folder, _check)
    cluster = _cluster(folder)
    watching = watching_facts(records, folder.model)
    over = None if decision is None else why_over(records, decision, SystemClock().now())
    show_stack(folder, running, replicas, problems, json, turn, decision, cluster, watching, over)
    if not json:
        for problem in problems:
            out_console().print(f"! {problem}", soft_wrap=True)


def _cluster(folder: "ProjectFolder") -> "ClusterFacts | None":
    """Return how the release is on its cluster; None outside of one, without importing anything."""
    if folder.settings.kubernetes_release is None:
        return None
    from tidemill.kubernetes.cluster_facts import cluster_facts

    return cluster_facts(folder.settings)


def _check(folder: "ProjectFolder") -> list[str]:
    from tidemill.retraining.loop_declarations import declaration_problems  # imports pydantic

    return declaration_problems(folder)


def _show_ports(project: Any, info: Any, json: bool) -> None:
    from tidemill.serving.runtime.bind_policy import listeners, warnings

    if info is None:
        raise StackNotRunning(f"no stack is running for {project.root}", hint="`tidemill up` starts one")
    found = listeners(info)
    told = warnings(found)

    def render(console: "Console") -> None:
        anywhere = any(one.public for one in found)
        headers = ["port", "address", "reached from", "what it is", "process"]
        table = Listing(*(name for name in headers if anywhere or name != "reached from"))
        for one in found:
            process = one.process.removeprefix("ray::").partition(":")[0]
            reach = "other machines" + ("" if one.meant else ", not meant") if one.public else "this machine"
            table.add_row(
                str(one.port),
                one.address.removeprefix("::ffff:"),
                *([reach] if anywhere else []),
                one.purpose,
                f"{process} {one.pid}",
            )
        console.print(table)
        for sentence in told:
            console.print(f"! {sentence}")
        if not anywhere:
            console.print("✓ only this machine can reach them; anybody on it can")

    emit({"ports": found, "warnings": told}, json, render)


def show_stack(
    project: Any,
    info: Any,
    replicas: list[Any],
    problems: list[str],
    json: bool,
    turn: LastTurn | None = None,
    decision: Any = None,
    cluster: "ClusterFacts | None" = None,
    watching: "WatchingFacts | None" = None,
    held_over: str | None = None,
) -> None:
    """Show the stack of a project; ``problems``, what is wrong with its declarations, as JSON alone.

    ``held_over``: why what ``decision`` says of a policy's turn is over by now; None: it is not.
    """
    from tidemill.registry.versions.registry_reader import read_alias_names

    turn = turn or LastTurn()
    aliases = read_alias_names(project)
    champion = aliases.get("champion")
    drift = _drift(project, aliases)
    facts = {**_facts(project, info, replicas, turn, champion, problems), "policy": _policy_facts(decision)}
    facts["drift"] = drift
    facts["turn_was_killed"] = turn.left
    facts["cluster"] = cluster
    facts["alerts"] = None if watching is None else watching.alerts
    facts["messages"] = None if watching is None else watching.messages

    def render(console: "Console") -> None:
        grid = _grid(project, info, replicas, turn, champion)
        if decision is not None and decision.verdict == "hold":
            said = _held_words(decision, held_over)
            grid.add_row("policy", f"{decision.policy} {said}")
        for name, said in watching.rows() if watching is not None else ():
            grid.add_row(name, said)
        for sentence in drift or ():
            grid.add_row("drift", sentence)
        for name, said in _cluster_rows(cluster):
            grid.add_row(name, said)
        console.print(grid)

    emit(facts, json, render)


def _cluster_rows(cluster: "ClusterFacts | None") -> list[tuple[str, str]]:
    """Return what is shown of a cluster: its parts, and what is said of each."""
    if cluster is None:
        return []
    rows = [("not readable", one) for one in cluster.problems]
    if not cluster.problems:
        renewed = f", said at {format_moment(cluster.renewed_at)}" if cluster.renewed_at else ""
        rows.append(
            ("leader", f"{cluster.leader}{renewed}" if cluster.leader else "none: no controller works")
        )
    if (service := cluster.service) is not None:
        told = [service.message, *(f"{name} {status}" for name, status in service.applications.items())]
        said = ", ".join(one for one in told if one)
        rows.append(
            ("RayService", f"{service.state}, {service.endpoints} endpoints{f': {said}' if said else ''}")
        )
    rows += [
        ("RayJob", f"{job.name}: {job.phase}{f', {job.message}' if job.message else ''}")
        for job in cluster.jobs
    ]
    return rows


def _drift(project: Any, aliases: dict[str, str]) -> list[str] | None:
    """Say which aliases are not where deployments.yaml says; None without such a file."""
    from tidemill.registry.declared_aliases import DEPLOYMENTS_FILE, alias_drift, read_declared

    try:
        declared = read_declared(project.root)
    except ConfigError as error:
        return [str(error)]
    return (
        None
        if declared is None
        else [
            f"{one.alias} is {one.found or 'nowhere'}, {DEPLOYMENTS_FILE} says {one.declared or 'nowhere'}"
            for one in alias_drift(declared, aliases)
        ]
    )


def _held_words(decision: Any, over: str | None) -> str:
    """Return what holds a policy, or held it."""
    first, last = map(format_moment, (decision.first_at, decision.last_at))
    if over is not None:
        return f"held from {first} to {last}: {decision.reason} ({over})"
    return f"holds since {first}: {decision.reason}"


def _policy_facts(decision: Any) -> dict[str, Any] | None:
    """Return the latest decision of a policy."""
    names = ("policy", "verdict", "rule", "reason", "cause_message", "first_at", "last_at", "turn_id")
    return None if decision is None else {name: getattr(decision, name) for name in names}


def _facts(
    project: Any, info: Any, replicas: list[Any], last: LastTurn, champion: str | None, problems: list[str]
) -> dict[str, Any]:
    turn, rollout = last.row, last.rollout
    return {
        "project": project.root,
        "model": project.model,
        "champion": champion,
        "stack": None
        if info is None
        else {
            "state": info.state,
            "pid": info.pid,
            "url": info.url,
            "mlflow_url": info.mlflow_url,
            "dashboard_url": info.dashboard_url or None,
            "ray_address": info.ray_address,
            "logs": info.logs,
        },
        "replicas": [
            {"id": r.id, "version": r.version, "wanted": r.wanted, "error": r.error, "seen_at": r.seen_at}
            for r in replicas
        ],
        "turn": None
        if turn is None
        else {
            "id": turn.id,
            "status": turn.status,
            "step": turn.step,
            "as_of": turn.as_of,
            "error": turn.error,
            "rollout": rollout and {name: getattr(rollout, name) for name in ("id", "status", "outcome")},
        },
        "problems": problems,
    }


def _grid(project: Any, info: Any, replicas: list[Any], turn: LastTurn, champion: str | None) -> "Table":
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_row("project", str(project.root))
    nobody = "none yet: tidemill run --promote"
    if turn.row is not None and turn.row.status == "promoted":
        nobody = "none any more, it was deleted from the registry: tidemill rollback"
    grid.add_row("champion", f"{project.model} {champion}" if champion else nobody)
    if info is None:
        grid.add_row("stack", "not running: tidemill up")
    else:
        grid.add_row("stack", f"{info.state} (process {info.pid})")
        if info.dashboard_url:
            grid.add_row("dashboard", info.dashboard_url)
        grid.add_row("predictions", f"{info.url}/predict  ·  {info.url}/docs")
        grid.add_row("MLflow", info.mlflow_url or project.settings.tracking_uri or "–")
        grid.add_row("Ray", info.ray_address)
        grid.add_row("logs", info.logs)
    for r in replicas:
        trouble = f", wants {r.wanted}: {r.error}" if r.error else ""
        version = f"version {r.version}" if r.version else "no version yet"
        grid.add_row("replica", f"{r.id}: {version}{trouble}, seen {format_moment(r.seen_at)}")
    if turn.row is not None:
        grid.add_row("last turn", turn_words(turn))
    return grid
