"""Runs turns in processes that are forked with all engines imported, and kills them at given points."""

import ctypes
import importlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
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
    "tidemill.registry.versions.new_versions",
    "tidemill.registry.versions.original_models",
    "tidemill.retraining.candidates.champion_basis",
    "tidemill.retraining.controller",
    "tidemill.training.compiling.compiler",
    "tidemill.training.compiling.onnx_session",
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
    of: str = ""
    """Counts only calls that are given something of this ``name``, such as a step of a turn."""

    def find(self) -> tuple[Any, str]:
        """Return the module or class that has the call, and the call's name there.

        Raises:
            LookupError: there is no such call, as after a move of the code.
        """
        module, _, path = self.where.partition(":")
        *owners, name = path.split(".")
        try:
            owner: Any = importlib.import_module(module)
            for part in owners:
                owner = getattr(owner, part)
            getattr(owner, name)
        except (ImportError, AttributeError) as error:
            raise LookupError(f"kill point {self.where}: {error}; see where the code moved to") from error
        return owner, name

    def arm(self) -> None:
        """Patch this process so that it dies there."""
        owner, name = self.find()
        real: Callable[..., Any] = getattr(owner, name)

        def deadly(*given: Any, **named: Any) -> Any:
            meant = not self.of or any(getattr(one, "name", "") == self.of for one in given)
            if meant and self.moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*given, **named)
            if meant:
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
    from tidemill.retraining.turns.turn import make_turn
    from tidemill.retraining.turns.turn_begin import TurnRequest
    from tidemill.settings import Settings
    from tidemill.state import open_state

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the fork server
    os.environ[MARK] = ask.mark
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(ask.root)
    project = load_project(ask.root, Settings(num_cpus=1, ray_address=ask.ray_address))
    state = open_state(project.state_url)
    said = ""

    def listen(event: Any) -> None:
        nonlocal said
        if event.step != said:
            said = event.step
            wire.send(("step", event.step))

    try:
        if ask.at is not None:
            ask.at.arm()
        if ask.as_of is not None:
            request = TurnRequest(ask.as_of, "a test", "tester", params=ask.params)
            turns = [make_turn(project, state, request, listen)]
        else:
            turns = Controller(project, state, ReplayClock(datetime.now().astimezone()), listen).recover()
    except BaseException as error:
        wire.send(("error", f"{type(error).__name__}: {error}"))  # the other process judges it
        if not isinstance(error, Exception):
            raise
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

    def attempt(self, ask: Ask, kill_in: tuple[str, float] | None = None, patience: float = 600.0) -> Ended:
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
        try:
            ended = _follow(process, ours, kill_in, began + patience)
        finally:
            process.kill()
            process.join()
            ours.close()
        ended.code, ended.seconds = int(process.exitcode or 0), time.monotonic() - began
        process.close()
        return ended

    def left(self) -> list[psutil.Process]:
        """Return the living processes that attempts have started, and that should have ended with them."""
        found, wanted = [], f"{MARK}={self.mark}".encode()
        for process in psutil.process_iter():
            # Not psutil's environ(): it stops where a process, like Ray's agents, has written its title.
            with suppress(psutil.Error, OSError):
                variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if wanted in variables and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _follow(process: Any, wire: Connection, kill_in: tuple[str, float] | None, deadline: float) -> Ended:
    """Hear what a forked process tells until it has ended, and kill it when that is due."""
    ended, due = Ended(0, "", [], "", 0.0), deadline
    while True:
        if time.monotonic() >= due:
            if due == deadline:
                raise TimeoutError(f"a turn did not end in time: {ended}")
            process.kill()
            due = deadline
        if not wire.poll(max(due - time.monotonic(), 0.0)):
            continue
        try:
            kind, what = wire.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            return ended
        if kind == "step":
            ended.step = what
            if kill_in is not None and what == kill_in[0]:
                due, kill_in = time.monotonic() + kill_in[1], None
        elif kind == "end":
            ended.statuses = what
        else:
            ended.error = what


@contextmanager
def forking(mark: str) -> Iterator[ForkServer]:
    """Give a fork server; it ends with the block."""
    from multiprocessing import forkserver

    server = ForkServer(mark)
    try:
        yield server
    finally:
        forkserver._forkserver._stop()  # type: ignore[attr-defined]


def points(*lines: str) -> list[KillPoint]:
    """Read kill points, each as ``step module:name moment``, and perhaps the name that calls are told by."""
    return [KillPoint(*line.split()) for line in lines]


IN_STEPS = points(
    "start tidemill.retraining.turns.turn:_finish_left_behind before",
    "start tidemill.retraining.turns.turn:_run before",
    "data tidemill.data.versioning.data_versions:begin before",
    "data tidemill.data.versioning.data_versions:begin after",
    "data tidemill.data.versioning.data_versions:run_dvc after",
    "data tidemill.data.versioning.data_versions:commit_staged before",
    "data tidemill.data.versioning.data_versions:commit_staged after",
    "data tidemill.data.versioning.data_versions:copy_to_remote before",
    "data tidemill.data.versioning.data_versions:copy_to_remote after",
    "data tidemill.features.feature_store:record_views after",
    "train mlflow:MlflowClient.create_run after",
    "train tidemill.training.train:search_by before",
    "train tidemill.training.train:finish before",
    "train mlflow:MlflowClient.set_terminated before",
    "train tidemill.training.train:finish after",
    "train tidemill.retraining.turns.turn_steps:counted before",
    "register tidemill.registry.versions.new_versions:_create_model before",
    "register tidemill.registry.versions.new_versions:_create_model after",
    "register tidemill.registry.versions.new_versions:_compiled after",
    "register tidemill.registry.versions.new_versions:model_source after",
    "register mlflow:MlflowClient.create_model_version before",
    "register mlflow:MlflowClient.create_model_version after",
    "gate tidemill.registry.promotion:ask_gate before",
    "gate tidemill.registry.gates.gate_decisions:compare before",
    "gate tidemill.registry.gates.gate_decisions:compare after",
    "gate tidemill.registry.gates.gate_decisions:tag_version before",
    "gate tidemill.registry.gates.gate_decisions:tag_version after",
    "gate tidemill.registry.promotion:ask_gate after",
    "promote tidemill.retraining.turns.turn_end:promote before",
    "promote tidemill.registry.promotion:move_alias before",
    "promote tidemill.registry.history.alias_journal:_set_alias before",
    "promote tidemill.registry.history.alias_journal:_set_alias after",
    "promote tidemill.registry.history.alias_journal:_end before",
    "promote tidemill.registry.history.alias_journal:_end after",
    "promote tidemill.registry.promotion:move_alias after",
    "promote tidemill.retraining.turns.turn_end:promote after",
)
"""In each step, in the order of the steps."""

BETWEEN = [
    KillPoint(f"after {step}", "tidemill.retraining.turns.turn:_record", moment, step)
    for step in ("data", "train", "register", "gate", "promote")
    for moment in ("before", "after")
]
"""Before and after a step's result and the name of the next step are recorded."""
