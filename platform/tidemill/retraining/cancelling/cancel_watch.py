"""Ends the work on a turn soon after its record says that it was cancelled."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tidemill.errors import TurnCancelled
from tidemill.retraining.cancelling.cancelled_turns import CANCELLED
from tidemill.state import State
from tidemill.state.tables import Turn
from tidemill.threads import BackgroundThread

__all__ = ["interrupted_when_cancelled", "refuse_cancelled"]

_EVERY = 2.0


def refuse_cancelled(turn: Turn) -> None:
    """Refuse to write a step's result to a record that says cancelled.

    Raises:
        TurnCancelled: it does.
    """
    if turn.status == CANCELLED:
        raise TurnCancelled(f"turn {turn.id} was {turn.error}", hint="nothing was promoted")


@contextmanager
def interrupted_when_cancelled(state: State, turn: Turn) -> Iterator[None]:
    """Interrupt the block as Ctrl-C does once the turn is cancelled: searches and stages know how to end.

    Signals reach a process's main thread only; in another thread the work ends with its step.

    Raises:
        TurnCancelled: the turn was cancelled, and the block interrupted for that.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.main_thread()
    if threading.current_thread() is not main or before is None:
        yield
        return
    cancelled = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if cancelled.is_set():
            if watch.stopping.is_set():  # the block has ended
                return
            raise KeyboardInterrupt
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:  # as in what a shell has put in the background
            raise KeyboardInterrupt

    def look() -> None:
        with state.transaction() as session:
            status = session.get_one(Turn, turn.id).status
        if status == CANCELLED and not cancelled.is_set() and not watch.stopping.is_set():
            cancelled.set()
            assert main.ident is not None
            signal.pthread_kill(main.ident, signal.SIGINT)

    watch = BackgroundThread(f"cancelling of {turn.id}", look, every=_EVERY)
    signal.signal(signal.SIGINT, interrupt)
    watch.start()
    try:
        yield
    except KeyboardInterrupt as error:
        if not cancelled.is_set():
            raise
        raise TurnCancelled(f"turn {turn.id} was cancelled", hint="nothing was promoted") from error
    finally:
        watch.stop()
        signal.signal(signal.SIGINT, before)
