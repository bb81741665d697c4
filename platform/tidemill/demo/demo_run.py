"""Runs ``tidemill demo``: one scenario, from the first champion to a refused challenger."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tidemill.clock import ReplayClock
from tidemill.demo.demo_record import collect
from tidemill.demo.demo_workspace import prepare_workspace
from tidemill.demo.scenario import LaterScene, Scenario, load_scenario
from tidemill.demo.test_load import LoadGenerator, LoadReport
from tidemill.demo.traffic_replay import DayResult, History, Player
from tidemill.errors import RetrainingError, ServingError
from tidemill.features.feature_store import open_store
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion_version
from tidemill.retraining.controller import Controller
from tidemill.retraining.turn import TurnEvent, TurnRequest, make_turn
from tidemill.serving.http.client import PredictionClient
from tidemill.serving.runtime.local_stack import LocalStack
from tidemill.state import State, open_state
from tidemill.state.tables import Turn

__all__ = ["run_demo"]

Tell = Callable[[str, str, int | None, int | None], None]
_ACTOR = "demo"


@dataclass
class _Demo:
    """The state that the scenes of one demo share."""

    project: Project
    state: State
    scenario: Scenario
    history: History
    clock: ReplayClock
    tell: Tell
    url: str = ""
    days: list[DayResult] = field(default_factory=list)
    swaps: dict[str, LoadReport] = field(default_factory=dict)
    """Traffic during each turn that promoted under load, by the turn's id."""
    seconds: dict[str, float] = field(default_factory=dict)
    load: LoadGenerator | None = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 2)


def run_demo(source: Path, target: Path, tell: Tell) -> dict[str, Any]:
    """Run the scenario of the project at ``source`` in the workspace ``target``.

    Returns:
        The facts, which are also written to ``demo.json`` in the workspace.

    Raises:
        TidemillError: a part of the loop failed; all started processes are stopped.
    """
    began = time.perf_counter()
    tell("workspace", str(target), None, None)
    project = prepare_workspace(source, target)
    scenario = load_scenario(project)
    state = open_state(project.state_url)
    history: History = project.load(project.config.project.replay or "")
    demo = _Demo(project, state, scenario, history, ReplayClock(scenario.start), tell)
    demo.seconds["workspace"] = round(time.perf_counter() - began, 2)
    try:
        with demo.phase("stack start"):
            tell("stack", "starting Ray Serve", None, None)
            stack = LocalStack(
                project, lambda message: tell("stack", message, None, None), mlflow_server=False
            )
            stack.start()
        try:
            demo.url = stack.url
            _first_champion(demo)
            _watched_months(demo)
            if scenario.later is not None:
                _later_scene(demo, scenario.later)
        finally:
            with demo.phase("stack stop"):
                stack.stop()
        demo.seconds["total"] = round(time.perf_counter() - began, 2)
        facts = collect(project, state, scenario, demo.days, demo.swaps, demo.seconds)
    finally:
        state.close()
    (project.root / "demo.json").write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return facts


def _first_champion(demo: _Demo) -> None:
    with demo.phase("first turn"):
        turn = _turn(demo, "first turn", "the first model", {})
        if turn.status != "promoted":
            raise RetrainingError(
                f"the gate refused the first model of {demo.project.model}: there is nothing to serve",
                hint=f"see `tidemill models show {demo.project.model} {turn.version} -p {demo.project.root}`",
            )
        _wait_until_served(demo)


def _watched_months(demo: _Demo) -> None:
    controller = Controller(demo.project, demo.state, demo.clock, lambda event: _on_event(demo, event))
    _play(demo, demo.scenario.start, demo.scenario.end, controller)


def _later_scene(demo: _Demo, scene: LaterScene) -> None:
    demo.clock.advance_to(scene.start)
    with demo.phase("later turns"):
        _turn(demo, "later turn", scene.champion_reason, scene.champion_params)
        _wait_until_served(demo)
    _play(demo, scene.start, scene.end, None)
    with demo.phase("later turns"):
        _turn(demo, "challenger", scene.challenger_reason, scene.challenger_params)


def _turn(demo: _Demo, step: str, reason: str, params: dict[str, Any]) -> Turn:
    request = TurnRequest(demo.clock.now(), reason, _ACTOR, params=params)
    return make_turn(
        demo.project,
        demo.state,
        request,
        lambda event: demo.tell(step, f"{event.step}: {event.message}", event.done, event.total),
    )


def _play(demo: _Demo, start: datetime, end: datetime, controller: Controller | None) -> None:
    scenario = demo.scenario
    store = open_store(demo.project)
    player = Player(demo.history, store, demo.url, scenario.requests_per_day, scenario.seed, scenario.clients)
    total = (end - start).days
    step = f"{start:%b}–{end - timedelta(days=1):%b}" if (end - start).days > 31 else f"{start:%B}"
    try:
        with demo.phase("replay"):
            for number, result in enumerate(player.play(start, end), 1):
                demo.days.append(result)
                demo.clock.advance_to(min(end, result.ends))
                demo.tell(step, f"{result.day:%Y-%m-%d}: {result.sent} predictions", number, total)
                if controller is not None:
                    _tick(demo, controller)
            demo.days[-1].labels += player.flush()
    finally:
        player.close()


def _tick(demo: _Demo, controller: Controller) -> None:
    began = time.perf_counter()
    try:
        tick = controller.tick()
        for failure in tick.failures:
            raise failure.error
        if tick.turn is not None and tick.turn.status == "promoted":
            _wait_until_served(demo)
            time.sleep(1.0)  # some traffic on the new version alone, too
        if tick.turn is not None and demo.load is not None:
            demo.swaps[tick.turn.id] = demo.load.stop()
            demo.load = None
    finally:
        if demo.load is not None:
            demo.load.stop()
            demo.load = None
    name = "retraining" if tick.turn is not None else "watching"
    spent = time.perf_counter() - began
    demo.seconds[name] = round(demo.seconds.get(name, 0.0) + spent, 2)
    demo.seconds["replay"] = round(demo.seconds.get("replay", 0.0) - spent, 2)


def _on_event(demo: _Demo, event: TurnEvent) -> None:
    """Show the progress of a retraining, and send traffic to the application from the gate to the swap."""
    demo.tell("retraining", f"{event.step}: {event.message}", event.done, event.total)
    if event.step == "gate" and demo.load is None:
        now = demo.clock.now()
        day = demo.history.requests(
            now - (demo.days[-1].ends - demo.days[-1].day), now, 50, demo.scenario.seed
        )
        instances = day.drop("at", "label", "label_at").to_dicts()
        demo.load = LoadGenerator(demo.url, instances, now, demo.scenario.clients)
        demo.load.start()


def _wait_until_served(demo: _Demo, timeout: float = 60.0) -> None:
    """Wait until the application answers with the champion."""
    wanted = champion_version(demo.project)
    deadline = time.monotonic() + timeout
    with PredictionClient(demo.url) as client:
        while (seen := client.served_version()) != wanted:
            if time.monotonic() > deadline:
                raise ServingError(
                    f"the application still answers with {demo.project.model} {seen}, not {wanted}",
                    hint=f"read the replica's logs in {demo.project.logs}",
                )
            time.sleep(0.2)
