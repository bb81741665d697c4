"""Shares what was made for one visitor with those who would get the same, as long as nothing has changed."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["SharedTexts"]

_SECONDS = 2.0
"""What stands in no record, such as how long ago something was, may be so old when it has been made."""
_MOST = 64


class _Text:
    """One text, and what it was made from."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.text: str | None = None
        self.mark: Hashable = None
        self.made_at = 0.0


class SharedTexts:
    """The texts that were last asked for.

    >>> shared = SharedTexts()
    >>> shared.get("/", "mark 1", lambda: "page"), shared.get("/", "mark 1", lambda: "other")
    ('page', 'page')
    >>> shared.get("/", "mark 2", lambda: "other")
    'other'
    """

    def __init__(self, most: int = _MOST) -> None:
        """Begin with none; ``most`` are kept, those that were last asked for."""
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, _Text] = OrderedDict()
        self._most = most

    def get(self, key: Hashable, mark: Hashable, make: Callable[[], str]) -> str:
        """Return a text; who asks while another makes the same waits a moment for it.

        Args:
            key: identifies it: whoever has the same key may see the same.
            mark: another one whenever the text could have become another.
            make: makes it.
        """
        with self._lock:
            one = self._known.setdefault(key, _Text())
            self._known.move_to_end(key)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        if not one.making.acquire(timeout=_SECONDS):
            return make()  # rather than one after the other where each takes long
        try:
            fresh = one.mark == mark and time.monotonic() - one.made_at < _SECONDS
            if one.text is None or not fresh:
                one.text, one.mark = make(), mark
                one.made_at = time.monotonic()  # not before: what takes longer than that would never be fresh
            return one.text
        finally:
            one.making.release()
