"""Runs turns in processes that are forked with all engines imported, and kills them at given points."""

import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

MARK = "TIDEMILL_FORKED_MARK"
"""Environment variable of everything that an attempt starts: what is left over is found by it."""
ENGINES = (
    "tests.tidemill.retraining.forked",
    "tidemill.data.versioning.data_versions",
    "tidemill.features.feature_store",
    "tidemill.registry.deployments",
    "tidemill.registry.promotion",
    "tidemill.registry.versions.compiled_versions",
    "tidemill.registry.versions.original_models",
    "tidemill.retraining.controller",
    "tidemill.training.train",
    "sklearn.ensemble",
    "skl2onnx",
    "onnxruntime",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "ray.tune",
)


@dataclass(frozen=True)
class KillPoint:
    """A call at whose beginning or end the process kills itself, such as ``module:Class.method``."""

    step: str
    where: str
    moment: str
    """``before`` or ``after`` the call."""
    call: int = 1
    """Which call of it, from 1."""

    def arm(self) -> None:
        """Patch this process so that it dies there."""
        module, _, path = self.where.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        real: Callable[..., Any] = getattr(owner, name)
        calls = 0

        def deadly(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.call and self.moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*given, **named)
            if calls == self.call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, deadly)


@dataclass(frozen=True)
class Ask:
    """What a forked process does: a turn if it has a moment, else the recovery of a starting controller."""

    root: Path
    as_of: datetime | None = None
    params: dict[str, Any] = field(default_factory=dict)
    ray_address: str | None = None
    at: KillPoint | None = None
    mark: str = ""


@dataclass
class Ended:
    """How a forked process ended."""

    code: int
    """Negative: killed by that signal."""
    step: str
    """The step under way then; empty before the first."""
    statuses: list[str]
    """Of the turns that it finished."""
    error: str
    seconds: float


def run(ask: Ask, wire: Connection) -> None:
    """Do it, in the forked process; each step is told on the wire as it begins."""
    from tidemill.clock import ReplayClock
    from tidemill.project import load_project
    from tidemill.retraining.controller import Controller
    from tidemill.retraining.turn import TurnRequest, make_turn
    from tidemill.settings import Settings
    from tidemill.state import open_state

    os.environ[MARK] = ask.mark
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(ask.root)
    project = load_project(ask.root, Settings(num_cpus=1, ray_address=ask.ray_address))
    state = open_state(project.state_url)
    if ask.at is not None:
        ask.at.arm()
    said = ""

    def listen(event: Any) -> None:
        nonlocal said
        if event.step != said:
            said = event.step
            wire.send(("step", event.step))

    try:
        if ask.as_of is not None:
            request = TurnRequest(ask.as_of, "a test", "tester", params=ask.params)
            turns = [make_turn(project, state, request, listen)]
        else:
            turns = Controller(project, state, ReplayClock(datetime.now().astimezone()), listen).recover()
    except Exception as error:  # noqa: BLE001 - the other process judges it
        wire.send(("error", f"{type(error).__name__}: {error}"))
    else:
        wire.send(("end", [turn.status for turn in turns]))
    finally:
        state.close()


class ForkServer:
    """Forks attempts from a process that has imported the engines once, which takes seconds."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(ENGINES))

    def attempt(self, ask: Ask, kill_in: tuple[str, float] | None = None, patience: float = 180.0) -> Ended:
        """Let a forked process do it, and return how it ended.

        Args:
            ask: what it is to do.
            kill_in: a step, and how many seconds after its beginning the process is killed from outside.
            patience: seconds after which it must have ended.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=run, args=(replace(ask, mark=self.mark), theirs))
        began = time.monotonic()
        process.start()
        theirs.close()
        ended, deadline, due = Ended(0, "", [], "", 0.0), began + patience, None
        while True:
            now = time.monotonic()
            if now > deadline or (due is not None and now >= due):
                process.kill()
                due = None
            if ours.poll(max(min(due or deadline, deadline) - now, 0.0) if process.is_alive() else 0.0):
                try:
                    kind, what = ours.recv()
                except EOFError:
                    break
                if kind == "step":
                    ended.step = what
                    if kill_in is not None and what == kill_in[0] and due is None:
                        due, kill_in = time.monotonic() + kill_in[1], None
                elif kind == "end":
                    ended.statuses = what
                else:
                    ended.error = what
        process.join()
        if time.monotonic() > deadline:
            raise TimeoutError(f"a turn did not end within {patience:.0f} s: {ended}")
        ended.code, ended.seconds = int(process.exitcode or 0), time.monotonic() - began
        process.close()
        return ended

    def left(self) -> list[psutil.Process]:
        """Return the living processes that attempts have started, and that should have ended with them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                marked = process.environ().get(MARK) == self.mark
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@contextmanager
def forking(mark: str) -> Iterator[ForkServer]:
    """Give a fork server; it ends with the block."""
    from multiprocessing import forkserver

    server = ForkServer(mark)
    try:
        yield server
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def points(*lines: str) -> Sequence[KillPoint]:
    """Read kill points, each as ``step module:name moment [call]``."""
    found = []
    for line in lines:
        step, where, moment, *call = line.split()
        found.append(KillPoint(step, where, moment, *map(int, call)))
    return found
