"""Turns the loop: finishes what was left half made, runs due monitors, and retrains when a policy says so."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from tidemill.clock import Clock, SystemClock
from tidemill.errors import TidemillError, TurnInProgress
from tidemill.monitoring.monitor import run_due
from tidemill.prediction_log.upkeep.housekeeping import keep_up
from tidemill.prediction_log.upkeep.maintenance_lock import LogInUse
from tidemill.project import Project, load_project
from tidemill.registry.deployments import reconcile
from tidemill.registry.promotion import recover
from tidemill.registry.versions.model_versions import champion_version
from tidemill.retraining.policies import AlertFact, Hold, Retrain, TurnFact, decide, load_policies
from tidemill.retraining.rollout_thread import rolling
from tidemill.retraining.turn import TurnEvent, TurnRequest, make_turn, resume_turns
from tidemill.scoring.schedules.scheduled_runs import start_due
from tidemill.state import State, open_state
from tidemill.state.tables import Alert, MonitorRun, Turn

__all__ = ["Controller", "Tick"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tick:
    """What one look at the world brought."""

    monitor_runs: tuple[MonitorRun, ...]
    decision: Retrain | Hold | None
    turn: Turn | None


class Controller:
    """Watches and retrains one project. All it remembers is in the records: it may be killed at will."""

    def __init__(
        self,
        project: Project,
        state: State,
        clock: Clock,
        listen: Callable[[TurnEvent], None] | None = None,
    ) -> None:
        self._project = project
        self._state = state
        self._clock = clock
        self._listen = listen
        self._policies = load_policies(project)

    def recover(self) -> list[Turn]:
        """Finish or undo what a process that is gone left half made.

        Raises:
            TurnInProgress: another process is making a turn right now.
        """
        recover(self._project, self._state)
        reconcile(self._project, self._state)
        return resume_turns(self._project, self._state, self._listen)

    def tick(self) -> Tick:
        """Finish what was left half made, run due monitors, make a turn if a policy asks for one.

        A rollout under way is not waited for: see `rollout_thread`; nor is scheduled batch
        scoring, which goes on in processes of its own: see `tidemill.scoring.schedules.scheduled_runs`.

        While another process makes a turn, the monitors run and nothing is decided.

        Raises:
            TidemillError: a monitor or the turn failed; the records say which.
        """
        now = self._clock.now()
        start_due(self._project, self._state, now)
        try:
            self.recover()
        except TurnInProgress:
            return Tick(tuple(run_due(self._project, self._state, now)), None, None)
        runs = tuple(run_due(self._project, self._state, now))
        alerts, turns = self._facts()
        decision = decide(self._policies, alerts, turns, now)
        if not isinstance(decision, Retrain):
            return Tick(runs, decision, None)
        request = TurnRequest(
            as_of=now,
            reason=decision.reason,
            actor=f"policy:{decision.policy.name}",
            trigger=decision.alert.kind,
            policy=decision.policy.name,
            alert_id=decision.alert.id,
            params=decision.policy.params,
        )
        return Tick(runs, decision, make_turn(self._project, self._state, request, self._listen))

    def _facts(self) -> tuple[list[AlertFact], list[TurnFact]]:
        serving = champion_version(self._project)
        with self._state.transaction() as session:
            alerts = session.scalars(
                select(Alert)
                .where(Alert.model == self._project.model, Alert.version == serving)
                .where(Alert.status != "resolved")
            )
            turns = session.scalars(select(Turn).where(Turn.model == self._project.model))
            return (
                [AlertFact(a.id, a.monitor, a.kind, a.message, a.raised_at, a.last_seen_at) for a in alerts],
                [TurnFact(t.status, t.as_of) for t in turns],
            )


def run_forever(project: Project, interval: timedelta, stop: threading.Event) -> None:
    """Tick until ``stop`` is set. A failed tick is logged and tried again at the next one."""
    state = open_state(project.state_url)
    controller = Controller(
        project, state, SystemClock(), lambda e: log.info("%s %s: %s", e.turn_id, e.step, e.message)
    )
    thread = rolling(project, interval, stop)
    while not stop.is_set():
        try:
            tick = controller.tick()
            for run in tick.monitor_runs:
                log.info("monitor %s: %s over %d rows", run.monitor, run.verdict, run.rows)
            if isinstance(tick.decision, Hold):
                log.info("policy %s holds: %s", tick.decision.policy.name, tick.decision.reason)
        except TurnInProgress as busy:
            log.info("%s", busy)
        except Exception:
            log.exception("this round failed; the next is in %s", interval)
        _keep_log(project)
        stop.wait(interval.total_seconds())
    thread.join()
    state.close()


def _keep_log(project: Project) -> None:
    """Compact and prune the prediction log; what fails is tried again in the next round."""
    try:
        done = keep_up(project, SystemClock().now())
    except LogInUse as busy:
        log.info("%s", busy)
    except TidemillError as error:
        log.warning("%s", error)
    else:
        if done.compacted.rows:
            log.info("compacted %d records of the prediction log", done.compacted.rows)
        if done.pruned is not None and done.pruned.dates:
            log.info("deleted %d dates of the prediction log", len(done.pruned.dates))


def main(arguments: list[str]) -> int:
    """Run the controller of a project until SIGTERM: ``python -m tidemill.retraining.controller``."""
    parser = argparse.ArgumentParser(prog="tidemill-controller", description=main.__doc__)
    parser.add_argument("--project", type=Path, required=True, help="folder of the project")
    parser.add_argument(
        "--interval", type=float, default=60.0, help="seconds between two rounds (default: 60)"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    run_forever(load_project(options.project), timedelta(seconds=options.interval), stop)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
