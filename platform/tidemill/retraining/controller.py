"""Runs the loop in rounds: recovery after kills, due monitors, and a turn when a policy asks for one."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from tidemill.alerting.alert_states import record_alerts
from tidemill.alerting.delivery import sender_of
from tidemill.alerting.missed_runs import raise_missed
from tidemill.alerting.notifying import Send, notify
from tidemill.alerting.routes import load_routes
from tidemill.alerting.undeclared_alerts import resolve_outlived, resolve_undeclared
from tidemill.alerting.webhooks.registry_events import send_events
from tidemill.clock import Clock, SystemClock
from tidemill.errors import ConfigError, TidemillError, TurnInProgress
from tidemill.garbage import collect_rarely
from tidemill.monitoring.monitor_config import load_monitors
from tidemill.monitoring.monitoring_round import run_due
from tidemill.prediction_log.upkeep.housekeeping import run_housekeeping
from tidemill.prediction_log.upkeep.maintenance_lock import LogInUse
from tidemill.project import Project, load_project
from tidemill.registry.deployments import reconcile
from tidemill.registry.versions.model_versions import champion_version
from tidemill.retraining.decision_record import record_decisions
from tidemill.retraining.policies import load_policies
from tidemill.retraining.policy_facts import Hold, Retrain
from tidemill.retraining.policy_rules import foremost
from tidemill.retraining.questions import answer_overdue, is_served
from tidemill.retraining.recipes import Action
from tidemill.retraining.rollout_thread import start_rollout_thread
from tidemill.retraining.situation import Facts, gather, judge_all
from tidemill.retraining.turns.turn import TurnEvent, make_turn, resume_turns
from tidemill.retraining.turns.turn_begin import TurnRequest, count_turns
from tidemill.rollouts.enough_traffic import has_traffic
from tidemill.scoring.schedules.scheduled_runs import start_due
from tidemill.state import State, open_state
from tidemill.state.tables import MonitorRun, Turn

__all__ = ["Controller", "Elsewhere", "Failure", "Tick", "TurnPlace", "run_forever"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A part of a round that failed."""

    part: str
    error: Exception


@dataclass(frozen=True)
class Tick:
    """What one round of the controller did."""

    monitor_runs: tuple[MonitorRun, ...] = ()
    decision: Retrain | Hold | None = None
    turn: Turn | None = None
    failures: tuple[Failure, ...] = ()
    """The parts of the round that failed; the others were run all the same."""


class TurnPlace(Protocol):
    """Where turns are made that the controller does not make itself."""

    def attend(self, project: Project, state: State) -> None:
        """Look after turns on record as running.

        Raises:
            TurnInProgress: one is being made.
        """

    def begin(self, project: Project, state: State, request: TurnRequest) -> Turn:
        """Record a turn and have it made; return it as it begins."""


@dataclass(frozen=True)
class Elsewhere:
    """Who has work done that the controller's own machine does otherwise."""

    turns: TurnPlace | None = None
    scoring: Callable[[Project, State, datetime], object] | None = None
    """In place of `start_due`."""
    monitors: bool = False
    """Whether a process of its own evaluates the monitors that are due."""


class Controller:
    """Watches and retrains one project. Its memory is in the records, so it may be killed at any moment."""

    def __init__(
        self,
        project: Project,
        state: State,
        clock: Clock,
        listen: Callable[[TurnEvent], None] | None = None,
        send: Send | None = None,
        rolls_out: bool = False,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._project = project
        self._state = state
        self._clock = clock
        self._listen = listen
        self._send = send
        """Sends messages about alerts. None: nobody is told, webhooks neither, as in a replay of history."""
        self._rolls_out = rolls_out
        """Whether turns may end in rollouts, which need traffic of now; else they promote."""
        self._turns = elsewhere.turns if elsewhere is not None else None
        """Makes turns; None: this process does."""
        self._start_scoring = (elsewhere.scoring if elsewhere is not None else None) or start_due
        self._watches = elsewhere is None or not elsewhere.monitors

    def recover(self) -> list[Turn]:
        """Finish or undo what killed processes left: moves of aliases, deployments, turns.

        Raises:
            TurnInProgress: another process is making a turn right now.
        """
        reconcile(self._project, self._state)
        if self._turns is not None:
            self._turns.attend(self._project, self._state)
            return []
        return resume_turns(self._project, self._state, self._listen)

    def tick(self) -> Tick:
        """Run one round: recovery, due scoring, due monitors, messages, and a turn if a policy asks for one.

        A part that fails is reported, and keeps no other part from running. While another process makes a
        turn, the monitors run and nothing is decided.

        It does not wait for a rollout under way (`rollout_thread`), nor for scheduled batch scoring, which
        runs in processes of its own (`tidemill.scoring.schedules.scheduled_runs`).
        """
        now = self._clock.now()
        failures: list[Failure] = []
        decision: Retrain | Hold | None = None
        turn: Turn | None = None
        runs: list[MonitorRun] = []
        busy = False
        with _reported("scheduled scoring", failures):
            self._start_scoring(self._project, self._state, now)
        with _reported("recovery", failures):
            try:
                self.recover()
            except TurnInProgress:
                busy = True
        if self._watches:
            with _reported("monitors", failures):
                runs = run_due(self._project, self._state, now, record_alerts)
        with _reported("monitors that did not run", failures), suppress(ConfigError):  # said by "monitors"
            monitors = load_monitors(self._project)
            raise_missed(self._project, self._state, monitors, now)
            resolve_undeclared(self._state, self._project.model, monitors, now)
        with _reported("alerts about versions that serve no more", failures):
            resolve_outlived(self._state, self._project.model, champion_version(self._project), now)
        if self._send is not None:
            with _reported("messages about alerts", failures):
                if (routes := load_routes(self._project)) is not None:
                    notify(self._state, self._project.model, routes, now, self._send)
            with _reported("webhooks", failures):
                send_events(self._project, self._state, SystemClock().now())
        if not busy:
            with _reported("questions without an answer", failures):
                answer_overdue(self._project, self._state, now)
            with _reported("policies", failures):
                with self._state.transaction() as session:
                    turns_before = count_turns(session, self._project.model)
                decision, facts = self._decide(now)
        if isinstance(decision, Retrain):
            with _reported("turn", failures):
                turn = self._make_turn(decision, facts, now, turns_before)
        return Tick(tuple(runs), decision, turn, tuple(failures))

    def _decide(self, now: datetime) -> tuple[Retrain | Hold | None, Facts]:
        """Judge every policy, record what each decides, and return the first that is due, else held."""
        policies = load_policies(self._project)
        facts = gather(self._project, self._state, policies, champion_version(self._project), now)
        verdicts = judge_all(policies, facts, now)
        record_decisions(self._state, self._project.model, verdicts, facts.turns, now)
        return foremost(verdicts), facts

    def _make_turn(self, due: Retrain, facts: Facts, now: datetime, turns_before: int) -> Turn:
        request = _request(due, now, self._action(due.policy.action, now), turns_before)
        if self._turns is not None:
            return self._turns.begin(self._project, self._state, request)
        return make_turn(self._project, self._state, request, self._listen)

    def _action(self, declared: Action | None, now: datetime) -> Action:
        """Return what becomes of a version: by default a rollout, where that can begin, and can end.

        A project that asks for a proof has a rollout, too, where it cannot end: what is not proven goes back.
        """
        if declared == "shadow" and not self._rolls_out:
            return "record"
        if declared is not None and declared != "rollout":
            return declared
        if not self._rolls_out or not is_served(self._state, self._project.model):
            return "promote"
        proven = self._project.config.serve.rollout.proof is not None
        if declared is None and not proven and not has_traffic(self._project, now):
            log.info("the version will be promoted without a rollout: too few rows are answered for one")
            return "promote"
        return "rollout"


@contextmanager
def _reported(part: str, failures: list[Failure]) -> Iterator[None]:
    """Add an error to ``failures``, so that the next part of the round runs."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is, the round goes on
        failures.append(Failure(part, error))


def _request(decision: Retrain, now: datetime, action: Action, turns_before: int) -> TurnRequest:
    return TurnRequest(
        as_of=now,
        reason=decision.reason,
        actor=f"policy:{decision.policy.name}",
        trigger=decision.cause.kind,
        policy=decision.policy.name,
        alert_id=decision.alert.id if decision.alert else None,
        cause=decision.cause.key,
        params=decision.policy.params,
        recipe=decision.policy.recipe,
        action=action,
        ask=decision.policy.ask,
        turns_before=turns_before,
    )


def run_forever(
    project: Project, interval: timedelta, stop: threading.Event, elsewhere: Elsewhere | None = None
) -> None:
    """Run rounds until ``stop`` is set. What failed is logged, and tried again in the next round."""
    state = open_state(project.state_url)
    controller = Controller(
        project,
        state,
        SystemClock(),
        lambda e: log.info("%s %s: %s", e.turn_id, e.step, e.message),
        sender_of(project),
        rolls_out=True,
        elsewhere=elsewhere,
    )
    thread = start_rollout_thread(project, interval, stop)
    while not stop.is_set():
        _log_round(controller.tick(), interval)
        _keep_log(project)
        stop.wait(interval.total_seconds())
    thread.join()
    state.close()


def _log_round(tick: Tick, interval: timedelta) -> None:
    for run in tick.monitor_runs:
        log.info("monitor %s: %s over %d rows", run.monitor, run.verdict, run.rows)
    if isinstance(tick.decision, Hold):
        log.info("policy %s holds: %s", tick.decision.policy.name, tick.decision.reason)
    for failure in tick.failures:
        known = isinstance(failure.error, TidemillError)
        log.error(
            "%s failed, the next round is in %s: %s%s",
            failure.part,
            interval,
            failure.error,
            f" ({failure.error.hint})"
            if isinstance(failure.error, TidemillError) and failure.error.hint
            else "",
            exc_info=None if known else failure.error,
        )


def _keep_log(project: Project) -> None:
    """Compact and prune the prediction log. What fails is tried again in the next round."""
    try:
        done = run_housekeeping(project, SystemClock().now())
    except LogInUse as busy:
        log.info("%s", busy)
    except TidemillError as error:
        log.warning("%s", error)
    except Exception:
        log.exception("the upkeep of the prediction log failed")
    else:
        if done.compacted.rows:
            log.info("compacted %d records of the prediction log", done.compacted.rows)
        if done.pruned is not None and done.pruned.dates:
            log.info("deleted %d dates of the prediction log", len(done.pruned.dates))


def main(arguments: list[str]) -> int:
    """Run the controller of a project until SIGTERM: ``python -m tidemill.retraining.controller``."""
    collect_rarely()
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
