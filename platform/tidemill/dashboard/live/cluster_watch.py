"""Reads every few seconds how the release is on its cluster, so that no page waits for Kubernetes' API."""

from tidemill.kubernetes.cluster_facts import ClusterFacts, cluster_facts
from tidemill.settings import Settings
from tidemill.threads import BackgroundThread

__all__ = ["ClusterWatch"]

_EVERY = 10.0


class ClusterWatch:
    """Watches the cluster that this dashboard runs on; outside of one it does nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.facts: ClusterFacts | None = None
        """What was read last."""
        self._thread = BackgroundThread("cluster watch", self.look, every=_EVERY)

    def start(self) -> None:
        """Begin to look, where the settings name a release."""
        if self._settings.kubernetes_release is not None:
            self._thread.start()

    def look(self) -> None:
        """Read it once."""
        self.facts = cluster_facts(self._settings)
