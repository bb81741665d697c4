"""``tidemill up``, ``down``, ``status`` and ``predict``: the local stack."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import columns, emit, errors_console, progress, when
from tidemill.clock import SystemClock
from tidemill.errors import StackNotRunning, UsageError

__all__ = ["add_to"]

_PANEL = "The stack"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill up   ·   tidemill up --port 8000 --foreground", rich_help_panel=_PANEL
    )(up)
    app.command(epilog="Example: tidemill down", rich_help_panel=_PANEL)(down)
    app.command(
        epilog="Examples: tidemill status --json   ·   tidemill status --ports", rich_help_panel=_PANEL
    )(status)
    app.command(
        epilog="""Example: tidemill predict '{"carrier": "UA", "origin": "EWR", "dest": "IAH", """
        """"tailnum": "N14228", "scheduled_departure": "2013-04-01T10:15-04:00"}' --at 2013-04-01T12:15""",
        rich_help_panel=_PANEL,
    )(predict)


def up(
    project: ProjectDir = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the prediction API (default: a free one).")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of MLflow's server (default: a free one).")
    ] = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds between two rounds of the controller.")
    ] = 60.0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop everything at Ctrl-C.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Start MLflow's server, Ray Serve and the controller; on 127.0.0.1, unless TIDEMILL_HOST differs."""
    from tidemill.project import load_project
    from tidemill.serving.runtime.daemon import up as start
    from tidemill.settings import Settings

    given = {"serve_port": port, "mlflow_port": mlflow_port}
    chosen = {name: value for name, value in given.items() if value is not None}
    loaded = load_project(project, Settings.model_validate({**Settings().model_dump(), **chosen}))
    controller = [sys.executable, "-m", "tidemill.retraining.controller", "--project", str(loaded.root)]
    with progress(hidden=json) as tell:
        info = start(
            loaded,
            lambda message: tell("stack", message, None, None),
            companions={"controller": [*controller, "--interval", str(interval)]},
            foreground=foreground,
        )
    if not foreground:
        _show(loaded, info, [], json)
        _warn(info)


def down(project: ProjectDir = None, json: AsJson = False) -> None:
    """Stop exactly what `tidemill up` started for this project."""
    from tidemill.project import load_project
    from tidemill.serving.runtime.daemon import down as stop

    info = stop(load_project(project))
    emit(
        {"stopped": info.pid},
        json,
        lambda console: console.print(f"✓ stopped (process {info.pid})"),
    )


def status(
    project: ProjectDir = None,
    ports: Annotated[
        bool, typer.Option("--ports", help="Show every port that the stack listens on, and who can reach it.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the stack, the champion, what each replica answers with, and the turn under way."""
    from sqlalchemy import select

    from tidemill.project import load_project
    from tidemill.serving.routing.replicas import living
    from tidemill.serving.runtime.stack_record import status as running
    from tidemill.state import open_state
    from tidemill.state.tables import Turn

    loaded = load_project(project)
    if ports:
        _show_ports(loaded, json)
        return
    state = open_state(loaded.state_url)
    with state.transaction() as session:
        replicas = list(living(session, loaded.model, SystemClock().now()))
        turn = session.scalar(
            select(Turn).where(Turn.model == loaded.model).order_by(Turn.requested_at.desc())
        )
    _show(loaded, running(loaded), replicas if running(loaded) else [], json, turn)


def _show_ports(project: Any, json: bool) -> None:
    from tidemill.serving.runtime.bind_policy import listeners, warnings
    from tidemill.serving.runtime.stack_record import status as running

    info = running(project)
    if info is None:
        raise StackNotRunning(f"no stack is running for {project.root}", hint="`tidemill up` starts one")
    found = listeners(info)
    told = warnings(found)

    def render(console: Console) -> None:
        table = columns("port", "address", "reached from", "what it is", "process")
        for one in found:
            reach = (
                "this machine" if not one.public else "other machines" + ("" if one.meant else ", not meant")
            )
            table.add_row(str(one.port), one.address, reach, one.purpose, f"{one.process} {one.pid}")
        console.print(table)
        for sentence in told:
            console.print(f"! {sentence}")
        if not any(one.public for one in found):
            console.print("✓ only this machine can reach them; anybody on it can")

    emit({"ports": found, "warnings": told}, json, render)


def _warn(info: Any) -> None:
    """Say what other machines can reach, on stderr."""
    from tidemill.serving.runtime.bind_policy import listeners, warnings

    found = listeners(info)
    for one in found:
        if one.public and one.meant:
            errors_console.print(
                f"! port {one.port} on {one.address} is open to other machines: {one.purpose}"
            )
    for sentence in warnings(found):
        errors_console.print(f"! {sentence}")


def _show(project: Any, info: Any, replicas: list[Any], json: bool, turn: Any = None) -> None:
    from tidemill.registry.versions.model_versions import champion_version

    champion = champion_version(project)
    facts = {
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
        },
    }

    def render(console: Console) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_row("project", str(project.root))
        grid.add_row(
            "champion", f"{project.model} {champion}" if champion else "none yet: tidemill run --promote"
        )
        if info is None:
            grid.add_row("stack", "not running: tidemill up")
        else:
            grid.add_row("stack", f"{info.state} (process {info.pid})")
            grid.add_row("predictions", f"{info.url}/predict  ·  {info.url}/docs")
            grid.add_row("MLflow", info.mlflow_url or project.settings.tracking_uri or "–")
            grid.add_row("Ray", info.ray_address)
            grid.add_row("logs", info.logs)
        for r in replicas:
            trouble = f", wants {r.wanted}: {r.error}" if r.error else ""
            grid.add_row("replica", f"{r.id}: version {r.version}{trouble}, seen {when(r.seen_at)}")
        if turn is not None:
            trouble = f": {turn.error}" if turn.error else ""
            grid.add_row("last turn", f"{turn.id} as of {when(turn.as_of)}: {turn.status}{trouble}")
        console.print(grid)

    emit(facts, json, render)


def predict(
    instances: Annotated[
        str,
        typer.Argument(metavar="JSON", help="One instance, a list of them, or @FILE.", show_default=False),
    ],
    project: ProjectDir = None,
    url: Annotated[
        str | None,
        typer.Option(help="Of the prediction API (default: the running stack's).", show_default=False),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Moment of the prediction (default: now).", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Ask the running application for predictions."""
    from tidemill.project import load_project
    from tidemill.serving.http.client import PredictionClient
    from tidemill.serving.runtime.stack_record import status as running

    if url is None:
        loaded = load_project(project)
        info = running(loaded)
        if info is None:
            raise StackNotRunning(f"no stack is running for {loaded.root}", hint="`tidemill up` starts one")
        url = info.url
    with PredictionClient(url) as client:
        answer = client.predict(_read(instances), at=moment(at) if at else None)

    def render(console: Console) -> None:
        version = answer.model_version or "of several versions"
        table = columns("probability", "decision", "flags", "prediction", title=f"{answer.model} {version}")
        for p in answer.predictions:
            decision = ", ".join(f"{name}: {value}" for name, value in p.decision.items())
            table.add_row(f"{p.probability:.4f}", decision, ", ".join(p.flags) or "–", p.prediction_id)
        console.print(table)

    emit(answer.model_dump(mode="json"), json, render)


def _read(text: str) -> list[dict[str, Any]]:
    """Read instances from JSON, or from the file that @FILE names.

    >>> _read('{"carrier": "UA"}')
    [{'carrier': 'UA'}]
    """
    import json

    source = "the argument"
    try:
        if text.startswith("@"):
            source = text[1:]
            text = Path(source).read_text()
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"{source} is not JSON: {error}", hint="see the example in `tidemill predict --help`"
        ) from error
    found = content if isinstance(content, list) else [content]
    if not all(isinstance(item, dict) for item in found):
        raise UsageError(
            f"{source}: an instance is a JSON object", hint="see the example in `tidemill predict --help`"
        )
    return found
