"""``tidemill run`` and ``retrain``: the loop by hand."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.loop.set_aside import read_later, read_set_aside, said_later, said_set_aside
from tidemill.cli.models.version_list import said_holdout
from tidemill.cli.options import AsJson, AsOf, ProjectDir, moment
from tidemill.cli.output import emit, print_indented
from tidemill.cli.progress_lines import progress
from tidemill.errors import GateRefused, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tidemill.project import Project
    from tidemill.state import State
    from tidemill.state.tables import GateDecision, Turn

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Examples: tidemill run   ·   tidemill run --promote --as-of 2013-05-01   ·   "
        "tidemill run --set train.trials=24   ·   tidemill run --resume",
    )(run)
    app.command(epilog='Example: tidemill retrain --as-of 2013-06-01 --reason "new carrier"')(retrain)


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Set a value of params.yaml; may be repeated.", show_default=False
    ),
]


def run(
    resumed: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="With --resume: the search's run; default: the latest.", show_default=False
        ),
    ] = None,
    project: ProjectDir = None,
    as_of: AsOf = None,
    promote: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Go on through the gate to the alias champion.")
    ] = False,
    params: Sets = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a search that was cut off, as it was asked for.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Train a model and register it as a version.

    It versions the data, builds the features, and tunes; the best model of the search is registered.
    Without --as-of it takes what is known now, or what data.as_of or data.last_month of params.yaml says,
    unless an earlier turn wrote that data.as_of.
    """
    if resumed is not None and not resume:
        raise UsageError(f"{resumed} is no option of run", hint=f"tidemill run --resume {resumed}")
    if resume and (as_of or promote or params):
        raise UsageError(
            "--resume goes on with what the run was asked for: it takes no --as-of, --promote or --set",
            hint="leave them out, or begin a new run without --resume",
        )
    _turn(project, as_of, promote, "run by hand", params, json, resumed or "" if resume else None)


def retrain(
    project: ProjectDir = None,
    as_of: AsOf = None,
    reason: Annotated[str, typer.Option(help="Why; recorded with it.")] = "asked for by hand",
    params: Sets = None,
    json: AsJson = False,
) -> None:
    """Make a whole turn: train, ask the gate, promote.

    Without --as-of it takes the moment that `tidemill run` would take.
    If the gate refuses the new version, the champion stays and the exit code is 3.
    """
    _turn(project, as_of, True, reason, params, json)


def _turn(
    folder: Any,
    as_of: str | None,
    promote: bool,
    reason: str,
    params: list[str] | None,
    json: bool,
    resumed: str | None = None,
) -> None:
    """Make a turn and show it; with ``resumed`` go on with that of a run, with the latest if it is empty."""
    from tidemill.project import load_project

    wished, overrides = moment(as_of) if as_of else None, _assignments(params or [])
    project = load_project(folder)

    # Engines, once it is certain that they are needed.
    from tidemill.retraining.by_hand.moment_by_hand import moment_by_hand
    from tidemill.retraining.by_hand.resumed_turn import resume_turn
    from tidemill.retraining.handed_over.recorded_turns import begin_turn, hands_over
    from tidemill.retraining.questions import raise_needed
    from tidemill.retraining.turns.turn import TurnEvent, make_turn
    from tidemill.retraining.turns.turn_begin import TurnRequest
    from tidemill.serving.runtime.local_stack import attach
    from tidemill.state import open_state

    project = attach(project)
    state = open_state(project.state_url)
    who = project.settings.who

    def request() -> TurnRequest:
        at = moment_by_hand(project, state, wished)
        return TurnRequest(at, reason, who, promote=promote, params=overrides)

    if resumed is None and hands_over(project):
        _tell_handed_over(begin_turn(project, state, request()), json)
        return
    with progress() as tell:

        def listen(event: TurnEvent) -> None:
            tell(event.step, event.message, event.done, event.total)

        if resumed is not None:
            turn = resume_turn(project, state, resumed or None, who, listen)
        else:
            turn = make_turn(project, state, request(), listen)
    _tell_made(project, state, turn, json)
    if turn.status == "asked":
        raise_needed(turn)
    if turn.status == "refused":
        raise GateRefused(
            f"the gate refused version {turn.version} of {turn.model}",
            hint=f"tidemill models show {turn.model} {turn.version}",
        )


def _tell_made(project: "Project", state: "State", turn: "Turn", json: bool) -> None:
    """Show what a turn came to."""
    from tidemill.registry.history.serving_history import read_decision
    from tidemill.registry.versions.registry_reader import read_version
    from tidemill.retraining.turns.turn_steps import same_data
    from tidemill.serving.runtime.stack_record import status_in

    decision = read_decision(state, turn.decision_id) if turn.decision_id else None
    version = None if turn.version is None else read_version(project, turn.version)
    changed = None if version is None else version.lineage.get("uncommitted")
    same = same_data(state, turn, (turn.inputs or {}).get("data"))
    aside, later = read_set_aside(project, turn.data_revision), read_later(project)

    def render(console: "Console") -> None:
        console.print(f"{turn.model} version {turn.version} · {turn.status} · run {turn.run_id}")
        for name, found in aside.items():
            console.print(said_set_aside(name, found), soft_wrap=True)
        if later:
            console.print(said_later(later, turn.as_of, project.config.dataset.label_known), soft_wrap=True)
        for sentence in decision.reasons if decision else []:
            print_indented(console, sentence)
        if same is not None:
            said = (
                f"! nothing new was learnt: {same.id} ({same.status}) had the same data, code and parameters"
            )
            console.print(said, soft_wrap=True)
        if changed:
            console.print(f"! trained with code that is not committed: {', '.join(changed)}", soft_wrap=True)
        if version is not None and turn.status == "registered":
            print_indented(console, said_holdout(version, project.config.train.metric))
            console.print(f"  next: tidemill promote {turn.model} {turn.version}")
        if turn.status == "promoted" and status_in(project.root) is None:
            console.print("  next: tidemill up")

    emit(
        {
            **_facts(turn, decision, changed),
            "metrics": {} if version is None else version.metrics,
            "set_aside": aside,
            "later_rows": later,
            "same_as": same and same.id,
        },
        json,
        render,
    )


def _tell_handed_over(turn: "Turn", json: bool) -> None:
    """Say who makes a turn that was only recorded here."""

    def render(console: "Console") -> None:
        said = f"{turn.id} is on record: the controller makes a RayJob of it in its next round"
        console.print(said, soft_wrap=True)
        console.print("  next: tidemill status")

    emit({"turn": turn.id, "status": turn.status, "model": turn.model}, json, render)


def _facts(turn: "Turn", decision: "GateDecision | None", changed: list[str] | None) -> dict[str, Any]:
    names = ("status", "data_revision", "run_id", "model", "version", "seconds")
    gate = decision and {name: getattr(decision, name) for name in ("passed", "reasons", "numbers")}
    found = {name: getattr(turn, name) for name in names}
    return {"turn": turn.id, **found, "uncommitted": changed, "gate": gate}


def _assignments(texts: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE pairs; values are YAML.

    >>> _assignments(["train.trials=24"])
    {'train.trials': 24}
    """
    from tidemill.files.yaml_reading import YamlError, parse_yaml

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: not NAME=VALUE", hint="for example --set train.trials=24")
        try:
            values[name] = parse_yaml(value)
        except YamlError as error:
            raise UsageError(
                f"--set {text}: the value is not YAML", hint="quote it, or see params.yaml"
            ) from error
    return values
