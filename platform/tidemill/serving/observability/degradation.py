"""Report which parts of the platform are down for a replica."""

from collections.abc import Callable, Mapping

from tidemill.serving.observability.metrics_families import Family

__all__ = ["Degradation"]


class Degradation:
    """Asks each part for its problem; costs nothing until it is asked.

    >>> degradation = Degradation({"features": lambda: "Redis does not answer", "log": lambda: None})
    >>> degradation.now()
    {'features': 'Redis does not answer'}
    """

    def __init__(self, parts: Mapping[str, Callable[[], str | None]]) -> None:
        """Take the parts by name, and what returns each one's problem; None if it has none.

        They are the online store (``features``), the ``registry``, the platform's ``records``, and the disk
        of the ``log``.
        """
        self._parts = dict(parts)

    def now(self) -> dict[str, str]:
        """Return part → problem, for those that have one."""
        found = {name: problem() for name, problem in self._parts.items()}
        return {name: problem for name, problem in found.items() if problem is not None}

    def families(self) -> list[Family]:
        """Return the gauge for Prometheus: 1 while a part is down."""
        now = self.now()
        samples = tuple(((name,), float(name in now)) for name in self._parts)
        text = "Whether a replica does without a part of the platform."
        return [Family("tidemill_degraded", "gauge", text, ("part",), samples)]
