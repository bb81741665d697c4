"""Erases one subject from all stores, step by step; the next call finishes an erasure that was killed.

All stores are searched before the first change, so that the record shows what there was. Then the steps run,
each of which can be repeated. The tombstone comes first, so that no new rows of the subject are accepted. The
check comes last, except for the purge of earlier versions, which starts only when the current data is clean.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tidemill.clock import Clock
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.errors import DataError, TidemillError
from tidemill.files.locks import locked
from tidemill.ids import new_id
from tidemill.privacy.erasure import erasure_record
from tidemill.privacy.erasure.erasure_record import (
    ErasureOrder,
    drop_order,
    pending_orders,
    put_on_record,
    put_order,
)
from tidemill.privacy.erasure.erasure_steps import LAST, STEPS, StepInputs
from tidemill.privacy.erasure.subject_findings import Tell, search_stores
from tidemill.privacy.subject import Subject, find_subject
from tidemill.project import Project
from tidemill.state import open_state

__all__ = ["Erased", "erase", "preview", "resume"]

_PATIENCE = 600.0  # seconds to wait for another erasure


@dataclass(frozen=True)
class Erased:
    """The result of an erasure."""

    id: str
    entity: tuple[str, ...]
    pseudonyms: tuple[str, ...]
    status: str
    """``done``, ``incomplete`` or ``preview`` (nothing was changed on purpose)."""
    found: Mapping[str, Any]
    """The `tidemill.privacy.erasure.subject_findings.SubjectFindings` before the first change."""
    steps: Mapping[str, Any]
    """Step → ``status`` (``done``, ``skipped``, ``failed``), and what was removed."""
    resumed: bool = False
    """Whether it finished an erasure that an earlier call began."""


def preview(project: Project, values: Mapping[str, str], tell: Tell) -> Erased:
    """Return what an erasure would find, without changing anything.

    Raises:
        UsageError: a column is neither a join key nor personal.
        TidemillError: a place cannot be looked into.
    """
    subject = _subject(project, values)
    found = search_stores(project, subject, tell).as_dict()
    return Erased("", tuple(subject.pseudonyms), tuple(subject.pseudonyms.values()), "preview", found, {})


def erase(
    project: Project,
    values: Mapping[str, str],
    *,
    actor: str,
    reason: str,
    history: bool,
    clock: Clock,
    tell: Tell,
) -> list[Erased]:
    """Erase a subject, after finishing the erasures that were killed.

    Args:
        project: the project.
        values: column of the key → value, as text.
        actor: who requests it.
        reason: the reason to record.
        history: whether to delete earlier data versions from DVC's cache and remotes too.
        clock: wall-clock time.
        tell: the callback for progress.

    Returns:
        The result of each erasure; the requested one is last.

    Raises:
        UsageError: a column is neither a join key nor personal.
        TidemillError: a store cannot be searched (nothing was changed), or the record cannot be written.
    """
    subject = _subject(project, values)
    with _alone(project, tell):
        earlier = _finish_all(project, clock, tell)
        found = search_stores(project, subject, tell).as_dict()
        order = ErasureOrder(
            new_id("erasure"),
            dict(subject.values),
            actor,
            subject.hidden_in(reason),
            history,
            clock.now(),
            found,
        )
        put_order(project, order)
        return [*earlier, _carry_out(project, order, clock, tell)]


def resume(project: Project, clock: Clock, tell: Tell) -> list[Erased]:
    """Finish the erasures that were killed or blocked.

    Raises:
        TidemillError: an order or the record cannot be read or written.
    """
    with _alone(project, tell):
        return _finish_all(project, clock, tell)


def _finish_all(project: Project, clock: Clock, tell: Tell) -> list[Erased]:
    return [
        replace(_carry_out(project, order, clock, tell), resumed=True) for order in pending_orders(project)
    ]


def _carry_out(project: Project, order: ErasureOrder, clock: Clock, tell: Tell) -> Erased:
    subject = _subject(project, order.values)
    state = open_state(project.state_url)
    # After a kill, finished steps are not repeated; after a blocked step, all are.
    steps = {} if any(done["status"] == "failed" for done in order.steps.values()) else dict(order.steps)
    try:
        for name in STEPS:
            if name in steps:
                continue
            put_on_record(state, replace(order, steps=steps), subject.pseudonyms, "running")
            tell(name, "")
            work = StepInputs(project, subject, order, clock, partial(tell, name))
            steps[name] = _attempt(name, work, steps)
            tell(name, steps[name]["status"])
            order = replace(order, steps=dict(steps))
            put_order(project, order)
        failed = [outcome["error"] for outcome in steps.values() if outcome["status"] == "failed"]
        if failed:
            put_on_record(state, replace(order, steps=steps), subject.pseudonyms, "incomplete", failed[0])
        else:
            put_on_record(
                state, replace(order, steps=steps), subject.pseudonyms, "done", finished_at=clock.now()
            )
            tell("end", "")
            drop_order(project, order)
    finally:
        state.close()
    return Erased(
        order.id,
        tuple(subject.pseudonyms),
        tuple(subject.pseudonyms.values()),
        "incomplete" if failed else "done",
        order.findings,
        steps,
    )


def _attempt(name: str, work: StepInputs, steps: Mapping[str, Any]) -> dict[str, Any]:
    """Run a step; if it fails, the other steps still run, except the last."""
    if name == LAST and any(outcome["status"] == "failed" for outcome in steps.values()):
        return {"status": "failed", "error": "not before the other steps are done"}
    try:
        removed = STEPS[name](work)
    except TidemillError as error:
        return {"status": "failed", "error": work.subject.hidden_in(str(error)), "hint": error.hint}
    return {"status": "skipped"} if removed is None else {"status": "done", **removed}


def _subject(project: Project, values: Mapping[str, str]) -> Subject:
    return find_subject(project, values, Pseudonymiser(load_key(project)))


@contextmanager
def _alone(project: Project, tell: Tell) -> Iterator[None]:
    folder = erasure_record.folder(project)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def wait(holder: str) -> None:
        tell("wait", f"another erasure is under way: {holder}")

    def busy(holder: str) -> DataError:
        return DataError(
            f"another erasure has been under way for more than {_PATIENCE:.0f} s: {holder}",
            hint="wait for it, or end it; the next one finishes it",
        )

    with locked(folder / "lock", busy=busy, wait_seconds=_PATIENCE, on_wait=wait):
        yield
