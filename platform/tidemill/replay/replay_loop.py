"""Runs the loop of a project on replayed time: first champion, traffic, monitors, policies, more turns."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tidemill.clock import ReplayClock
from tidemill.errors import RetrainingError, ServingError, TidemillError
from tidemill.files.atomic import replace_file
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.registry.versions.model_versions import champion_version
from tidemill.replay.load_generator import LoadGenerator, LoadReport
from tidemill.replay.replay_record import collect
from tidemill.replay.traffic_replay import History, PlayedSpan, Player, instances
from tidemill.retraining.controller import Controller
from tidemill.retraining.turns.turn import TurnEvent, make_turn
from tidemill.retraining.turns.turn_begin import TurnRequest
from tidemill.serving.http.client import PredictionClient
from tidemill.serving.runtime.local_stack import LocalStack
from tidemill.state import State, open_state
from tidemill.state.tables import Turn

__all__ = ["ReplayLoop", "Tell", "TrafficDensity", "run_scenes", "span_name"]

Tell = Callable[[str, str, int | None, int | None], None]


@dataclass(frozen=True)
class TrafficDensity:
    """How dense the traffic is."""

    per_day: int
    """Most requests of a day."""
    seed: int = 0
    clients: int = 8
    """Requests at once."""


def span_name(start: datetime, end: datetime) -> str:
    """Return the months of ``[start, end)``, with years where they are of several.

    >>> [span_name(datetime(2013, 4, 1), datetime(2013, month, 1)) for month in (5, 7)]
    ['April', 'Apr–Jun']
    >>> span_name(datetime(2023, 7, 1), datetime(2024, 7, 1))
    'Jul 2023–Jun 2024'
    """
    last = end - timedelta(days=1)
    if start.year != last.year:
        return f"{start:%b %Y}–{last:%b %Y}"
    return f"{start:%b}–{last:%b}" if (end - start).days > 31 else f"{start:%B}"


@dataclass
class ReplayLoop:
    """The state that the scenes of one replay share."""

    project: Project
    state: State
    history: History
    clock: ReplayClock
    pace: TrafficDensity
    actor: str
    tell: Tell
    url: str = ""
    spans: list[PlayedSpan] = field(default_factory=list)
    swaps: dict[str, LoadReport] = field(default_factory=dict)
    """Traffic during each turn that promoted under load, by the turn's id."""
    seconds: dict[str, float] = field(default_factory=dict)
    load: LoadGenerator | None = None

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the duration of the block to ``seconds``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 2)

    def first_champion(self) -> None:
        """Make the first turn, and wait until its version is served.

        Raises:
            RetrainingError: the gate refused it.
            TidemillError: a step of the turn failed.
        """
        with self.phase("first turn"):
            turn = self.turn("first turn", "the first model", {})
            if turn.status != "promoted":
                folder, model = self.project.root, self.project.model
                raise RetrainingError(
                    f"the gate refused the first model of {model}: there is nothing to serve",
                    hint=f"see `tidemill models show {model} {turn.version} -p {folder}`; a replay that "
                    "begins later has more rows to learn from",
                )
            self.wait_until_served()

    def turn(self, step: str, reason: str, params: dict[str, Any]) -> Turn:
        """Make a turn at the replayed moment."""
        request = TurnRequest(self.clock.now(), reason, self.actor, params=params)
        return make_turn(
            self.project,
            self.state,
            request,
            lambda event: self.tell(step, f"{event.step}: {event.message}", event.done, event.total),
        )

    def play(
        self, start: datetime, end: datetime, watched: bool, step: timedelta = timedelta(days=1)
    ) -> None:
        """Send the traffic of ``[start, end)``; after each ``step`` monitors and policies run."""
        controller = Controller(self.project, self.state, self.clock, self._on_event) if watched else None
        name = span_name(start, end)
        total = -(-(end - start) // step)
        player = self._player()
        try:
            with self.phase("replay"):
                for number, span in enumerate(player.play(start, end, step), 1):
                    self.spans.append(span)
                    self.clock.advance_to(span.ends)
                    sent = counted(span.sent, "prediction")
                    self.tell(name, f"{span.begins:%Y-%m-%d %H:%M}: {sent}", number, total)
                    if controller is not None:
                        self._tick(controller)
                self.spans[-1].labels += player.flush()
        finally:
            player.close()

    def wait_until_served(self, timeout: float = 60.0) -> None:
        """Wait until the application answers with the champion.

        Raises:
            ServingError: it does not within ``timeout`` seconds.
        """
        wanted = champion_version(self.project)
        deadline = time.monotonic() + timeout
        with PredictionClient(self.url) as client:
            while (seen := client.served_version()) != wanted:
                if time.monotonic() > deadline:
                    raise ServingError(
                        f"the application still answers with {self.project.model} {seen}, not {wanted}",
                        hint=f"read the replica's logs in {self.project.logs}",
                    )
                time.sleep(0.2)

    def _player(self) -> Player:
        store = None
        if self.project.has_store:
            from tidemill.features.feature_store import open_store  # importing Feast takes seconds

            store = open_store(self.project)
        pace = self.pace
        return Player(self.history, store, self.url, pace.per_day, pace.seed, pace.clients)

    def _tick(self, controller: Controller) -> None:
        began = time.perf_counter()
        try:
            tick = controller.tick()
            for failure in tick.failures:
                if failure.part != "turn" or not isinstance(failure.error, TidemillError):
                    raise failure.error
                self.tell("retraining", f"failed: {failure.error}", None, None)  # it is on record, too
            if tick.turn is not None and tick.turn.status == "promoted":
                self.wait_until_served()
                time.sleep(1.0)  # some traffic on the new version alone, too
            if tick.turn is not None and self.load is not None:
                self.swaps[tick.turn.id] = self.load.stop()
                self.load = None
        finally:
            if self.load is not None:
                self.load.stop()
                self.load = None
        name = "retraining" if tick.turn is not None else "watching"
        spent = time.perf_counter() - began
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 2)
        self.seconds["replay"] = round(self.seconds.get("replay", 0.0) - spent, 2)

    def _on_event(self, event: TurnEvent) -> None:
        """Show the progress of a retraining; from the gate to the swap send traffic to the application."""
        self.tell("retraining", f"{event.step}: {event.message}", event.done, event.total)
        if event.step == "gate" and self.load is None:
            now, last = self.clock.now(), self.spans[-1]
            rows = instances(self.history.requests(last.begins, last.ends, 50, self.pace.seed))
            if rows:
                self.load = LoadGenerator(self.url, rows, now, self.pace.clients)
                self.load.start()


def run_scenes(
    project: Project,
    history: History,
    start: datetime,
    pace: TrafficDensity,
    actor: str,
    tell: Tell,
    scenes: Callable[[ReplayLoop], None],
) -> dict[str, Any]:
    """Serve a project, run scenes from ``start`` on, and return the facts, which are also written.

    They go to ``<actor>.json`` in the project's folder.

    Raises:
        TidemillError: a part of the loop failed; all started processes are stopped.
    """
    began = time.perf_counter()
    state = open_state(project.state_url)
    loop = ReplayLoop(project, state, history, ReplayClock(start), pace, actor, tell)
    try:
        with loop.phase("stack start"):
            tell("stack", "starting Ray Serve", None, None)
            stack = LocalStack(
                project, lambda message: tell("stack", message, None, None), mlflow_server=False
            )
            stack.start()
        try:
            loop.url = stack.url
            scenes(loop)
        finally:
            with loop.phase("stack stop"):
                stack.stop()
        seconds = {**loop.seconds, "total": round(time.perf_counter() - began, 2)}
        facts = collect(project, state, loop.spans, loop.swaps, seconds)
    finally:
        state.close()
    facts["file"] = f"{actor}.json"
    replace_file(project.root / facts["file"], json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return facts
