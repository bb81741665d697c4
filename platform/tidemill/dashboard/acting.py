"""Lets a process of its own do what needs engines, and takes its answer.

See `tidemill.retraining.by_hand.acts_by_hand` for what can be asked for, and why it is done there.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tidemill import errors
from tidemill.accounts.caller import current_caller
from tidemill.dashboard.server_start import patient_environment
from tidemill.dashboard.visit import Visit
from tidemill.errors import NotAnswering, RetrainingError, TidemillError, TurnInProgress
from tidemill.files.locks import is_locked
from tidemill.project import Project
from tidemill.retraining.by_hand.asked_act_record import act_lock, begin_record, end_record
from tidemill.state import State
from tidemill.state.record_reader import Row
from tidemill.threads import BackgroundThread

__all__ = ["LOG", "act_apart", "begin_act", "start_turn"]

LOG = "turns-by-hand.log"
"""In the project's folder of logs."""
_MODULE = "tidemill.retraining.by_hand.acts_by_hand"
_AT_ONCE = threading.BoundedSemaphore(3)
_ROOM = 1_000_000
"""Bytes without which no turn begins: it could put neither itself on record nor its errors in its log."""
_SECONDS = 900.0
_PLACE_SECONDS = 10.0
_BEGIN_SECONDS = 60.0
_children: list["subprocess.Popen[bytes]"] = []  # to reap when they have ended


def act_apart(
    visit: Visit, project: Project, act: str, wait_seconds: float = _PLACE_SECONDS, /, **facts: Any
) -> dict[str, Any]:
    """Do something in a process of its own, and return what it answers when it has ended.

    Args:
        visit: who asks, and when.
        project: whose model it is.
        act: one of `tidemill.retraining.by_hand.acts_by_hand.ACTS`.
        wait_seconds: how long to wait while three others work.
        facts: what the act needs.

    Raises:
        NotAnswering: too much is being done already, or it takes too long; then it goes on.
        TidemillError: what was asked for was refused, or failed. If the gate refused, a note of the error is
            the decision's id.
    """
    asked = _asked(visit, act, facts)
    with _place(wait_seconds):
        process = subprocess.Popen(
            _command(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=project.root,
            env=patient_environment(),
            start_new_session=True,
        )
        try:
            said, told = process.communicate(asked, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            _children.append(process)
            raise NotAnswering(
                f"this takes longer than {_SECONDS / 60:.0f} minutes", hint="it goes on: look again later"
            ) from error
    return _taken(said, told, process.returncode)


def begin_act(visit: Visit, project: Project, act: str, reason: str, /, **facts: Any) -> str:
    """Begin something in a process of its own that goes on by itself, and return the id of its record.

    What is being done already is not done twice: whoever asks for the same gets the same record.

    Args:
        visit: who asks, and when.
        project: whose model it is.
        act: as of `act_apart`.
        reason: why.
        facts: what the act needs.

    Raises:
        NotAnswering: too much is being done already.
        NotWritable, StateError: it cannot be put on record; nothing has begun.
    """
    _reap()
    if not _AT_ONCE.acquire(blocking=False):
        raise _too_much()
    began = False
    try:
        asked = begin_record(visit.state, project, act, facts, actor=visit.who, reason=reason)
        if asked.is_new:
            _begin(visit.state, project, asked.id, _asked(visit, act, {"reason": reason, **facts}, asked.id))
            began = True
        return asked.id
    finally:
        if not began:
            _AT_ONCE.release()


def _begin(state: State, project: Project, act_id: str, request: bytes) -> None:
    """Start the process of an act, and a thread that waits for its end."""
    log = act_lock(project.home, act_id).with_suffix(".log")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as told:
            process = subprocess.Popen(
                _command(project),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,  # a pipe would break under it if the dashboard ended
                cwd=project.root,
                env=patient_environment(),
                start_new_session=True,
            )
    except OSError as error:
        end_record(state, act_id, _failure(f"its process did not begin: {error}"), failed=True)
        raise
    BackgroundThread(f"wait for {act_id}", partial(_see_end, state, act_id, process, request, log)).start()


def _see_end(
    state: State, act_id: str, process: "subprocess.Popen[bytes]", request: bytes, log: Path
) -> None:
    """Wait for the process of an act, and record its end if it could not do so itself."""
    try:
        said, _ = process.communicate(request)
    finally:
        _AT_ONCE.release()
    try:
        end_record(state, act_id, json.loads(said))
        log.unlink()
    except ValueError:
        last = _last_line(log, 0)
        what = f"the process that was to do it ended with {process.returncode}: {last}"
        end_record(state, act_id, _failure(what), failed=True)


def _failure(message: str) -> dict[str, Any]:
    hint = "the records say what was done"
    return {"error": {"kind": "RetrainingError", "message": message, "hint": hint, "decision": None}}


def start_turn(visit: Visit, project: Project, reason: str, as_of: str | None) -> str | None:
    """Begin a turn in a process that goes on by itself.

    Returns:
        the turn's id; None if it is not on record yet.

    Raises:
        TurnInProgress: another turn of the model is being made.
        RetrainingError: it could not begin.
        OSError: there is no room for it.
    """
    _reap()
    _refuse_second(visit, project)
    before = {row.id for row in _latest(visit, project)}
    project.logs.mkdir(parents=True, exist_ok=True)
    log = project.logs / LOG
    if shutil.disk_usage(project.logs).free < _ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(project.logs))
    began = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(
            _command(project),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd=project.root,
            env=patient_environment(),
            start_new_session=True,
        )
    assert process.stdin is not None
    with process.stdin as request:
        request.write(_asked(visit, "retrain", {"reason": reason, "as_of": as_of}))
    _children.append(process)
    until = time.monotonic() + _BEGIN_SECONDS
    while time.monotonic() < until:
        ended = process.poll() is not None  # before the records are read: it may have written to them
        if new := [row for row in _latest(visit, project) if row.id not in before]:
            return str(new[0].id)
        if ended:
            raise RetrainingError(
                f"the turn did not begin: {_last_line(log, began)}", hint=f"its log is {log}"
            )
        time.sleep(0.2)
    return None


def _last_line(log: Path, began: int) -> str:
    """Return the message of the last line that was written to a log since."""
    with log.open("rb") as written:
        written.seek(began)
        lines = written.read()[-20_000:].decode("utf-8", "replace").strip().splitlines()
    return (lines[-1].partition(" ERROR ")[2] or lines[-1]) if lines else "it said nothing"


def _refuse_second(visit: Visit, project: Project) -> None:
    running = visit.records.select("turns", "model = ? AND status = 'running'", project.model, limit=1)
    if running:
        [turn] = running
        raise TurnInProgress(
            f"a turn is being made already: {turn.actor} asked for it ({turn.reason}), step {turn.step}",
            hint="its page shows how far it is; ask again when it has ended",
        )
    if is_locked(project.home / "turn.lock"):
        raise TurnInProgress(
            f"another process is about to make a turn of {project.model}", hint="look again in a minute"
        )


def _latest(visit: Visit, project: Project) -> list[Row]:
    order = "requested_at DESC, id DESC"
    return visit.records.select("turns", "model = ?", project.model, order=order, limit=5)


def _asked(visit: Visit, act: str, facts: Mapping[str, Any], record: str | None = None) -> bytes:
    caller = current_caller()
    by = {"actor": visit.who, "now": visit.now.isoformat(), "caller": asdict(caller) if caller else None}
    return json.dumps({"act": act, "record": record, **by, **facts}).encode()


def _command(project: Project) -> list[str]:
    return [sys.executable, "-m", _MODULE, "--project", str(project.root)]


@contextmanager
def _place(seconds: float) -> Iterator[None]:
    """Let only so many processes work at once.

    Raises:
        NotAnswering: that many do.
    """
    _reap()
    if not _AT_ONCE.acquire(timeout=seconds):
        raise _too_much()
    try:
        yield
    finally:
        _AT_ONCE.release()


def _too_much() -> NotAnswering:
    return NotAnswering("too much is being done at once", hint="try it again in a minute")


def _reap() -> None:
    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)


def _taken(said: bytes, told: bytes, code: int) -> dict[str, Any]:
    """Return what a process answered; raise what it refused."""
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError as error:
        lines = told.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else "it said nothing"
        raise RetrainingError(
            f"the process that was to do it ended with {code}: {last}", hint="the records say what was done"
        ) from error
    if "error" not in answer:
        done: dict[str, Any] = answer["done"]
        return done
    failed = answer["error"]
    kind: type[TidemillError] = getattr(errors, failed["kind"], TidemillError)
    refusal = kind(failed["message"], hint=failed["hint"])
    if failed["decision"] is not None:
        refusal.add_note(failed["decision"])
    raise refusal
