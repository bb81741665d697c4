"""Counts the alerts that are not resolved, and the messages about alerts that did not reach anybody yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tidemill.plurals import counted
from tidemill.state.record_reader import Records

__all__ = ["WatchingFacts", "watching_facts"]

_ORDER = ("firing", "acknowledged", "pending")


@dataclass(frozen=True)
class WatchingFacts:
    """What waits for somebody.

    >>> dict(WatchingFacts({"firing": 2, "pending": 1}, {"no address": 3}).rows())
    {'alerts': '2 firing, 1 pending: tidemill alerts list', 'messages': '3 messages not sent: no address'}
    >>> dict(WatchingFacts({}, {}).rows())
    {}
    """

    alerts: Mapping[str, int]
    """Status → how many alerts have it; without resolved ones."""
    messages: Mapping[str, int]
    """The last error → how many messages are due still, or given up, because of it."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what is to be shown, each with its name."""
        if self.alerts:
            found = ", ".join(f"{self.alerts[each]} {each}" for each in _ORDER if each in self.alerts)
            yield "alerts", f"{found}: tidemill alerts list"
        for error, many in self.messages.items():
            yield "messages", f"{counted(many, 'message')} not sent: {error}"


def watching_facts(records: Records, model: str) -> WatchingFacts:
    """Count them; of messages those about alerts that are not resolved."""
    open_alerts = "SELECT id FROM alerts WHERE model = ? AND status <> 'resolved'"
    unsent = (
        f"model = ? AND status IN ('due', 'failed') AND error IS NOT NULL AND alert_id IN ({open_alerts})"
    )
    return WatchingFacts(
        records.counts("alerts", "status", "model = ? AND status <> 'resolved'", model),
        records.counts("notifications", "error", unsent, model, model),
    )
