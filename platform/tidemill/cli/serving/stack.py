"""``tidemill up``, ``down`` and ``predict``: the local stack."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.listing import Listing
from tidemill.cli.options import AsJson, ProjectDir, moment
from tidemill.cli.output import emit, errors_console
from tidemill.cli.own_acts import own_act
from tidemill.cli.progress_lines import progress
from tidemill.cli.serving.stack_status import show_stack
from tidemill.clock import SystemClock
from tidemill.errors import StackNotRunning, StateError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Examples: tidemill up   ·   tidemill up --port 8000 --foreground")(up)
    app.command(epilog="Example: tidemill down")(down)
    app.command(
        epilog="Examples: tidemill predict --example   ·   "
        """tidemill predict '{"city": "Rome", "wind": 3.5}' --at 2024-03-01T06:00   ·   """
        "tidemill predict @rows.json --json",
    )(predict)


def up(
    project: ProjectDir = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the prediction API (default: a free one).")
    ] = None,
    mlflow_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of MLflow's server (default: a free one).")
    ] = None,
    dashboard_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Of the dashboard (default: 4300 if it is free, else a free one)."
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=1, help="Seconds between two rounds of the controller.")
    ] = 60.0,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop everything at Ctrl-C.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Start the API, the controller, MLflow and the dashboard.

    They listen on 127.0.0.1, unless TIDEMILL_HOST names another address.
    """
    from tidemill.dashboard.opening import require_safe_dashboard
    from tidemill.project import load_project
    from tidemill.retraining.loop_declarations import declaration_problems
    from tidemill.serving.runtime.daemon import up as start
    from tidemill.serving.runtime.stack_record import DASHBOARD
    from tidemill.settings import Settings

    asked: dict[str, Any] = {"serve_port": port, "mlflow_port": mlflow_port, "dashboard_port": dashboard_port}
    settings = replace(Settings(), **{name: given for name, given in asked.items() if given is not None})
    loaded = load_project(project, settings)
    require_safe_dashboard(loaded)
    problems = declaration_problems(loaded)
    of = ["--project", str(loaded.root)]
    controller = [sys.executable, "-m", "tidemill.retraining.controller", *of, "--interval", str(interval)]
    dashboard = [sys.executable, "-m", "tidemill.dashboard.server", *of]
    for problem in problems if not json else ():
        errors_console().print(f"! {problem}", soft_wrap=True)
    with progress() as tell:
        info = start(
            loaded,
            lambda message: tell("stack", message, None, None),
            companions={"controller": controller, DASHBOARD: dashboard},
            foreground=foreground,
            before=_told(own_act(loaded, "start", ("serving", loaded.model))),
        )
    if not foreground:
        show_stack(loaded, info, _troubled(project), problems, json)
        _warn(info)


def down(project: ProjectDir = None, json: AsJson = False) -> None:
    """Stop what `tidemill up` started.

    Only the processes of this project are stopped.
    """
    from tidemill.project import load_project
    from tidemill.serving.runtime.daemon import down as stop

    loaded = load_project(project)
    info = stop(loaded, before=_told(own_act(loaded, "stop", ("serving", loaded.model))))
    emit(
        {"stopped": info.pid},
        json,
        lambda console: console.print(f"✓ stopped (process {info.pid})"),
    )


def _troubled(project: Path | None) -> list[Any]:
    """Return the replicas that say why they do not answer with the champion."""
    from tidemill.cli.reading import open_reading
    from tidemill.state import record_queries

    try:
        folder, records = open_reading(project)
        replicas = record_queries.replicas(records, folder.model, SystemClock().now())
    except StateError as error:
        errors_console().print(f"! whether the champion answers cannot be read: {error}", soft_wrap=True)
        return []
    return [one for one in replicas if one.error]


def _told(put_on_record: Callable[[], None]) -> Callable[[], None]:
    """Return what puts an act on record, or says that it could not: serving goes without records."""

    def put() -> None:
        try:
            put_on_record()
        except StateError as error:
            errors_console().print(f"! this is not in the audit log: {error}", soft_wrap=True)

    return put


def _warn(info: Any) -> None:
    """Say what other machines can reach, on stderr."""
    from tidemill.serving.runtime.bind_policy import listeners, warnings

    found = listeners(info)
    for one in found:
        if one.public and one.meant:
            errors_console().print(
                f"! port {one.port} on {one.address} is open to other machines: {one.purpose}"
            )
    for sentence in warnings(found):
        errors_console().print(f"! {sentence}")


def predict(
    instances: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON",
            help="One instance, a list of them, the body of a request, or @FILE.",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example", help="Ask for the project's own example, from features.yaml: logged as test traffic."
        ),
    ] = False,
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
    """Ask the running stack for predictions."""
    from tidemill.project import load_project
    from tidemill.serving.http.client import PredictionClient
    from tidemill.serving.runtime.stack_record import status as running

    if (instances is None) != example:
        raise UsageError("either JSON or --example is needed", hint="see `tidemill predict --help`")
    asked, asked_at = (_example(project), None) if instances is None else _read(instances)
    if url is None:
        loaded = load_project(project)
        info = running(loaded)
        if info is None:
            raise StackNotRunning(f"no stack is running for {loaded.root}", hint="`tidemill up` starts one")
        if info.state != "ready":
            raise StackNotRunning(
                f"the stack of {loaded.root} is not ready yet: {info.message}",
                hint="`tidemill status` says when it is",
            )
        url = info.url
    with PredictionClient(url) as client:
        # nobody asked for the example's answer: monitors shall not count it
        answer = client.predict(asked, at=moment(at) if at else asked_at, test=example)

    def render(console: "Console") -> None:
        version = "several versions" if answer.model_version is None else f"version {answer.model_version}"
        names = list(answer.predictions[0].answer)
        table = Listing(*names, "decision", "flags", "prediction", title=f"{answer.model}, {version}")
        for p in answer.predictions:
            shown = [_shown(p.answer.get(name)) for name in names]
            decision = ", ".join(f"{name}: {value}" for name, value in p.decision.items())
            table.add_row(*shown, decision or "–", ", ".join(p.flags) or "–", p.prediction_id)
        console.print(table)

    emit(answer.model_dump(mode="json"), json, render)


def _shown(value: object) -> str:
    """Return one value of an answer for people.

    >>> _shown(0.25), _shown({"a": 0.5, "b": 0.5}), _shown(["x"])
    ('0.2500', 'a: 0.5000, b: 0.5000', '["x"]')
    """
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_shown(each)}" for name, each in value.items())
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _example(project: Path | None) -> list[dict[str, Any]]:
    """Return the instance that the examples of ``features.yaml`` make."""
    from tidemill.project.feature_columns import COLUMNS_FILE, read_columns, read_keys
    from tidemill.project.project import open_folder

    folder = open_folder(project)
    if not (folder.root / COLUMNS_FILE).exists():
        raise UsageError(
            f"--example: {folder.root} has no {COLUMNS_FILE}, which would give an example",
            hint="write the instance as JSON; /docs of the API shows one",
        )
    columns = (*read_keys(folder), *read_columns(folder))
    return [{column.name: column.example for column in columns if column.example is not None}]


def _read(text: str) -> tuple[list[dict[str, Any]], "datetime | None"]:
    """Read instances from JSON, or from the file that @FILE names, and their moment, if a body gives it.

    >>> _read('{"carrier": "UA"}')
    ([{'carrier': 'UA'}], None)
    >>> rows, at = _read('{"instances": [{"carrier": "UA"}], "at": "2024-03-01T06:00:00Z"}')
    >>> rows, at.isoformat()
    ([{'carrier': 'UA'}], '2024-03-01T06:00:00+00:00')
    """
    import json

    source = "the argument"
    try:
        if text.startswith("@"):
            source = text[1:]
            text = Path(source).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise UsageError(
            f"{source} cannot be read: {error.strerror}", hint="check the path and that you may read it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{source} is not JSON: {error}", hint="see the example in `tidemill predict --help`"
        ) from error
    at = None
    if _is_body(content):
        at, content = content.get("at"), content["instances"]
    found = content if isinstance(content, list) else [content]
    if not all(isinstance(item, dict) for item in found):
        raise UsageError(
            f"{source}: an instance is a JSON object", hint="see the example in `tidemill predict --help`"
        )
    return found, moment(str(at)) if at else None


def _is_body(content: object) -> bool:
    """Tell whether JSON is what programs send to the API, and no instance with a field of this name.

    >>> _is_body({"instances": [{"wind": 3.5}]}), _is_body({"instances": [1.0, 2.0]}), _is_body({"wind": 3.5})
    (True, False, False)
    """
    if not isinstance(content, dict) or not set(content) <= {"instances", "at"}:
        return False
    rows = content.get("instances")
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)
