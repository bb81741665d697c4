"""Kills turns of the loop at least 200 times, in and between all steps, and checks that nothing is lost.

A small project makes turn after turn with the real engines (DVC, Feast, Ray, MLflow). Each process that makes
a turn, or finishes what another one left, gets a SIGKILL: at a given call, or at random in a step. The next
process goes on, and is killed in its turn, until all kills of that turn are done; then one may finish. Now
nothing may be lost or made twice: every turn has one outcome, version, run, data version and decision; the
alias points to the recorded champion; the history has no gap; no process is left.

    python -m benchmarks.kills [--kills 200] [--seed 0]

Prints a row a step: how often it was killed there, how many of these turns were finished and how many had not
been on record yet and left nothing (undone), and in how many something was wrong after all. Wrong must be 0.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import mkdtemp

import psutil
from sqlalchemy import select

from tests.tidemill.lineage.small_world import NOON
from tests.tidemill.retraining.forked import BETWEEN, IN_STEPS, Ask, ForkServer, KillPoint, forking
from tests.tidemill.retraining.small_loop import faults, write_loop
from tidemill.orphan_reaper import MARK as GUARD_MARK
from tidemill.orphan_reaper import OrphanReaper
from tidemill.project import Project
from tidemill.serving.runtime.ray_cluster import join_variables
from tidemill.state import State, open_state
from tidemill.state.tables import Turn

STEPS = ("start", "data", "train", "register", "gate", "promote")
ROTATED = (
    (
        "tidemill.training.train:finish before",
        "mlflow:MlflowClient.set_terminated before",
        "tidemill.training.train:finish after",
    ),
    (
        "tidemill.registry.gates.gate_decisions:tag_version before",
        "tidemill.registry.gates.gate_decisions:tag_version after",
        "tidemill.registry.promotion:ask_gate after",
    ),
    (
        "tidemill.registry.history.alias_journal:_set_alias before",
        "tidemill.registry.history.alias_journal:_set_alias after",
        "tidemill.registry.promotion:move_alias after",
    ),
)
"""Points of which a turn reaches one: what was done before it is found, and not done again. Or, in training,
which come after a search, most of a turn: one is enough."""
PATIENCE = 30.0
"""Seconds in which the processes of a killed turn must be gone."""


RAY = """
import sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
    _node_ip_address="127.0.0.1")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def shared_ray() -> Iterator[str]:
    """Give the address of a Ray on which turns train, as beside a running stack."""
    with Popen([sys.executable, "-W", "ignore", "-c", RAY], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@dataclass
class Table:
    """What came of the kills, by the step in which they fell."""

    kills: Counter[str] = field(default_factory=Counter)
    finished: Counter[str] = field(default_factory=Counter)
    undone: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    sentences: list[str] = field(default_factory=list)
    longest: float = 0.0
    """Seconds after a turn until the last process of those that were killed had ended."""
    missed: list[str] = field(default_factory=list)
    """Calls that no process came to, because the kill before, at random, came too late."""

    def show(self) -> None:
        """Print it."""
        print(f"\n{'step':>16} {'kills':>7} {'finished':>9} {'undone':>7} {'wrong':>6}")
        rows = sorted(
            self.kills, key=lambda name: (STEPS.index(name.removeprefix("after ")), name[:5] == "after")
        )
        for name in rows:
            print(
                f"{name:>16} {self.kills[name]:>7} {self.finished[name]:>9} {self.undone[name]:>7} "
                f"{self.wrong[name]:>6}"
            )
        print(f"after a turn, the last process of a killed one ended within {self.longest:.0f} s")
        if self.missed:
            print(f"not reached: {'; '.join(self.missed)}")
        totals = [one.total() for one in (self.kills, self.finished, self.undone, self.wrong)]
        print(f"{'all':>16} {totals[0]:>7} {totals[1]:>9} {totals[2]:>7} {totals[3]:>6}")


@dataclass(frozen=True)
class Kill:
    """Where one process is to be killed: at a call, or at random in a step."""

    step: str
    at: KillPoint | None = None


def plan(number: int) -> list[Kill]:
    """Return the kills of one turn in the order in which they are reached: what is done is not done again."""
    left_out = {one for points in ROTATED for n, one in enumerate(points) if n != number % len(points)}
    moves = not refused(number)
    if moves and number % 3 == 2:  # the promotion is done at once, and nothing is left to settle
        left_out |= {f"tidemill.registry.history.alias_journal:_end {when}" for when in ("before", "after")}
    kills = []
    for step in STEPS:
        if step != "start":
            kills.append(Kill(step))
        of_step = [
            one for one in IN_STEPS if one.step == step and f"{one.where} {one.moment}" not in left_out
        ]
        if step == "promote" and not moves:
            of_step = of_step[:1]
        kills += [Kill(step, one) for one in of_step]
        kills += [Kill(one.step, one) for one in BETWEEN if one.of == step]
    return kills


def refused(number: int) -> bool:
    """Return whether the gate of a turn lets nobody pass."""
    return number % 4 == 3


def make_killed_turn(
    server: ForkServer,
    project: Project,
    state: State,
    number: int,
    table: Table,
    drawn: random.Random,
    ray: str,
) -> None:
    """Make one turn, killed again and again, and count what came of it; each fourth starts its own Ray."""
    as_of = NOON + timedelta(hours=number)
    gate = {"gate.min_gain": 0.9 if refused(number) else -1.0}
    ask = Ask(project.root, params=gate, ray_address=None if number % 4 == 1 else ray)
    here: Counter[str] = Counter()
    for kill in plan(number):
        found = turn_of(state, as_of)
        if found is not None and found.status != "running":
            break  # one process was not killed, and has finished it
        told = replace(ask, as_of=None if found is not None else as_of, at=kill.at)
        after = (kill.step, drawn.uniform(0, 0.8 * shortest(state, kill.step))) if kill.at is None else None
        ended = server.attempt(told, after)
        if ended.code == -signal.SIGKILL:
            step = kill.step if kill.at is not None else ended.step or "start"
            table.kills[step] += 1
            here[step] += 1
            undone = turn_of(state, as_of) is None
            (table.undone if undone else table.finished)[step] += 1
        elif ended.error or ended.code:
            note(table, here, f"turn {number}, {kill}: {ended.error or f'exit code {ended.code}'}")
        elif kill.at is not None:
            table.missed.append(f"turn {number}: {kill.at.where}, {kill.at.moment}")
        print(".", end="", flush=True)
    found = turn_of(state, as_of)
    if found is None or found.status == "running":
        ended = server.attempt(replace(ask, as_of=as_of if found is None else None))
        if ended.error or ended.code:
            note(table, here, f"turn {number} was not finished: {ended}")
    wanted = "refused" if refused(number) else "promoted"
    if (found := turn_of(state, as_of)) is None or found.status != wanted:
        note(table, here, f"turn {number} is {found and found.status}, not {wanted}")
    for sentence in faults(project, state):
        note(table, here, f"after turn {number}: {sentence}")
    wait_for_nobody(server, table, here, f"turn {number}")


def note(table: Table, here: Counter[str], sentence: str) -> None:
    """Keep what was wrong, and count all kills of the turn as wrong."""
    if sentence not in table.sentences:
        print(f"\n! {sentence}", flush=True)
        table.sentences.append(sentence)
    for step in here:
        table.wrong[step] = max(table.wrong[step], 1)


def turn_of(state: State, as_of: datetime) -> Turn | None:
    """Return the turn of a moment, if one is on record."""
    with state.transaction() as session:
        return session.scalar(select(Turn).where(Turn.as_of == as_of))


def shortest(state: State, step: str) -> float:
    """Return in how many seconds a step was done at best, in the turns so far."""
    with state.transaction() as session:
        return min(
            (turn.seconds[step] for turn in session.scalars(select(Turn)) if step in turn.seconds), default=0
        )


def wait_for_nobody(server: ForkServer, table: Table, here: Counter[str], when: str) -> None:
    """See that the processes of a killed turn end by themselves."""
    began = time.monotonic()
    while (left := server.left()) and time.monotonic() < began + PATIENCE:
        time.sleep(0.5)
    table.longest = max(table.longest, time.monotonic() - began)
    for process in left:
        with suppress(psutil.Error):  # it has ended meanwhile
            note(table, here, f"{when}: left over: {' '.join(process.cmdline())[:100]}")
            process.kill()


def main() -> int:
    """Run the benchmark; return 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.kills", description=main.__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    table, drawn, began = Table(), random.Random(options.seed), time.monotonic()
    folder, state, number = Path(mkdtemp(prefix="kills-")), None, 0
    guard = OrphanReaper.start(folder)  # ends and removes everything, however this process ends
    os.environ.update({GUARD_MARK: guard.mark, **join_variables()})  # Ray reads them when it is imported
    with forking(guard.mark) as server, shared_ray() as ray:
        try:
            project = write_loop(folder / "parcels")
            state = open_state(project.state_url)
            passing = {"gate.min_gain": -1.0}
            first = server.attempt(Ask(project.root, NOON - timedelta(days=1), passing, ray))
            print(
                f"one turn without a kill: {first.statuses or first.error} in {first.seconds:.1f} s",
                flush=True,
            )
            while table.kills.total() < options.kills:
                make_killed_turn(server, project, state, number, table, drawn, ray)
                number += 1
                print(f" {table.kills.total()} kills in {time.monotonic() - began:.0f} s", flush=True)
        finally:
            if state is not None:
                state.close()
            table.show()
    guard.stop()
    print(f"\n{number} turns, {table.kills.total()} kills, {time.monotonic() - began:.0f} s")
    return 1 if table.wrong.total() or table.sentences else 0


if __name__ == "__main__":
    sys.exit(main())
