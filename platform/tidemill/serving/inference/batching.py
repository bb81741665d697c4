"""Batch calls on the event loop: those that come together share a lookup, a model call, a log write.

A call waits for the end of the present turn of the loop, in which all requests that the kernel had ready are
read, and for ``wait_seconds`` beyond it. Under load a turn brings many requests; a lone one does not wait.
Small batches are answered on the loop itself: handing one over to a thread costs more than the work. Slow
work runs in threads: large batches, and calls for explanations, which are never batched with others.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

from tidemill.serving.inference.calls import Answer, Call, Overloaded, TimedOut
from tidemill.serving.inference.hooks import Meter, NoMeter

__all__ = ["Batcher", "Deliver"]

_log = logging.getLogger(__name__)

Answers = Sequence[Answer | Exception]
T = TypeVar("T")


Deliver = Callable[["Answer | Exception"], None]
"""Takes an answer, or why there is none; called once, on the event loop."""


class _Delivery:
    """In place of a future: calls back at once, where a future's callbacks wait for the loop's next turn."""

    __slots__ = ("_deliver",)

    def __init__(self, deliver: Deliver) -> None:
        self._deliver: Deliver | None = deliver

    def done(self) -> bool:
        return self._deliver is None

    def set_result(self, answer: "Answer | Exception") -> None:
        deliver, self._deliver = self._deliver, None
        try:
            if deliver is not None:
                deliver(answer)
        except Exception:  # noqa: BLE001 — the other answers of the batch go on
            _log.exception("an answer could not be delivered")

    set_exception = set_result


class _Waiting(NamedTuple):
    call: Call
    future: "asyncio.Future[Answer] | _Delivery"
    deadline: float
    """`time.perf_counter` by which there must be an answer."""


class Batcher:
    """Takes calls and returns an answer for each. All methods belong to the event loop's thread."""

    def __init__(
        self,
        answer: Callable[[Sequence[Call]], Answers],
        pool: Executor,
        *,
        max_rows: int = 64,
        loop_rows: int = 64,
        wait_seconds: float = 0.0,
        timeout_seconds: float = 10.0,
        meter: Meter | None = None,
    ) -> None:
        """Take the parts.

        Args:
            answer: gives an answer, or why there is none, for each of some calls; threads may call it.
            pool: where large batches are answered.
            max_rows: of a batch; a call with more is a batch of its own.
            loop_rows: a batch of more rows than that is answered in the pool; 0: every batch is.
            wait_seconds: how long a call waits for others to come.
            timeout_seconds: how long a call may take, waiting included.
            meter: is told of every batch.
        """
        self.timeout_seconds = timeout_seconds
        self._answer = answer
        self._pool = pool
        self._max_rows = max_rows
        self._loop_rows = loop_rows
        self._wait_seconds = wait_seconds
        self._meter = meter or NoMeter()
        self._waiting: deque[_Waiting] = deque()
        self._scheduled = False

    def submit(self, call: Call, began: float) -> "asyncio.Future[Answer]":
        """Return a future of the answer.

        Args:
            call: has at least one row.
            began: when the request came in, by `time.perf_counter`.

        Raises:
            TimedOut: (by the future) the time was over.
            Exception: (by the future) whatever went wrong with this call.
        """
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._queue(_Waiting(call, future, began + self.timeout_seconds))
        return future

    def submit_to(self, call: Call, began: float, deliver: Deliver) -> None:
        """As `submit`, but without a future: the answer, or why there is none, goes to ``deliver``."""
        self._queue(_Waiting(call, _Delivery(deliver), began + self.timeout_seconds))

    def _queue(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        if self._scheduled:
            return
        self._scheduled, loop = True, asyncio.get_running_loop()
        if self._wait_seconds > 0:
            loop.call_later(self._wait_seconds, self._flush)
        else:
            loop.call_soon(self._flush)

    async def aside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do other work in the pool, so that the loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _flush(self) -> None:
        """Answer one batch; the next one has its turn after what else is due on the loop."""
        loop = asyncio.get_running_loop()
        batch, rows = self._take()
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_soon(self._flush)
        if not batch:
            return
        self._meter.batch(rows)
        if rows <= self._loop_rows and not batch[0].call.explain:
            _settle(batch, self._work([waiting.call for waiting in batch]))
            return
        self._hand_over(loop, batch)

    def _hand_over(self, loop: asyncio.AbstractEventLoop, batch: list[_Waiting]) -> None:
        try:
            work = loop.run_in_executor(self._pool, self._work_for, batch)
        except RuntimeError:  # the pool is shut down, as this replica is about to end
            _settle(batch, [Overloaded("this replica is being stopped: try again")] * len(batch))
            return
        late = max(waiting.deadline for waiting in batch) - time.perf_counter()
        timer = loop.call_later(late, _expire, batch)

        def settle(done: "asyncio.Future[Answers]") -> None:
            timer.cancel()  # it would keep the batch in memory until then
            _settle(batch, done.result())

        work.add_done_callback(settle)

    def _take(self) -> tuple[list[_Waiting], int]:
        """Return the calls of one batch, without those that were cancelled or are too late."""
        waiting, batch, rows, now = self._waiting, list[_Waiting](), 0, time.perf_counter()
        while waiting:
            first = waiting[0]
            if first.future.done():  # the client has gone
                waiting.popleft()
            elif first.deadline < now:
                waiting.popleft()
                first.future.set_exception(_too_late(first.call))
            elif batch and (rows + first.call.rows > self._max_rows or first.call.explain):
                break
            else:
                batch.append(waiting.popleft())
                rows += first.call.rows
                if first.call.explain:  # slow: it goes alone, and in the pool
                    break
        return batch, rows

    def _work_for(self, batch: Sequence[_Waiting]) -> Answers:
        """Answer a batch in the pool, but not calls that were given up while they waited for a thread."""
        wanted = [not waiting.future.done() for waiting in batch]
        calls = [waiting.call for waiting, is_wanted in zip(batch, wanted, strict=True) if is_wanted]
        answers = iter(self._work(calls) if calls else ())
        return [
            next(answers) if is_wanted else _too_late(waiting.call)
            for waiting, is_wanted in zip(batch, wanted, strict=True)
        ]

    def _work(self, calls: Sequence[Call]) -> Answers:
        try:
            return self._answer(calls)
        except Exception as error:  # noqa: BLE001 — defensive: callers must not hang
            _log.error("a batch of %d calls failed as a whole", len(calls), exc_info=error)
            return [error] * len(calls)


def _settle(batch: Sequence[_Waiting], answers: Answers) -> None:
    for waiting, answer in zip(batch, answers, strict=True):
        if waiting.future.done():
            continue
        if isinstance(answer, Exception):
            waiting.future.set_exception(answer)
        else:
            waiting.future.set_result(answer)


def _expire(batch: Sequence[_Waiting]) -> None:
    for waiting in batch:
        if not waiting.future.done():
            waiting.future.set_exception(_too_late(waiting.call))


def _too_late(call: Call) -> TimedOut:
    said = "there was no answer in time"
    if call.explain:
        said += "; the first explanation of a version takes seconds, later ones do not: ask again"
    return TimedOut(said, hint="serve.timeout_seconds in params.yaml says how long")
