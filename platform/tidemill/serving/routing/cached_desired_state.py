"""Cache which versions should answer, for a replica that starts while the registry is down."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tidemill.errors import RegistryError
from tidemill.files.atomic import replace_file
from tidemill.serving.routing.traffic_split import DeployedVersion, DesiredState

__all__ = ["CachedDesiredState"]

_log = logging.getLogger(__name__)


class CachedDesiredState:
    """Asks which versions should answer; until the first success it returns what was known before."""

    def __init__(
        self, read: Callable[[], DesiredState], file: Path, is_empty: Callable[[], bool] = lambda: False
    ) -> None:
        """Take the parts.

        Args:
            read: returns which versions should answer.
            file: remembers it.
            is_empty: returns whether the registry does not know the model at all. Then its database was
                lost, and MLflow made an empty one. A champion that was removed is believed.
        """
        self.problem: str | None = None
        """Why the last question failed; None if it did not."""
        self._read = read
        self._file = file
        self._known: DesiredState | None = None
        self._is_empty = is_empty

    def __call__(self) -> DesiredState:
        """Return which versions should answer.

        Raises:
            Exception: the registry cannot be asked, and this process knows already, or nothing is remembered.
        """
        try:
            wanted = self._read()
            if wanted.champion is None and self._file.exists() and self._is_empty():
                raise RegistryError("it no longer has the model")
        except Exception as error:
            if self.problem is None:
                _log.warning("the registry cannot be asked which versions should answer: %s", error)
            self.problem = f"the registry cannot be asked: {error}"
            remembered = _remembered(self._file) if self._known is None else None
            if remembered is None:
                raise
            return remembered
        self.problem = None
        if wanted != self._known:
            self._known = wanted
            if wanted.champion is not None:
                _remember(self._file, wanted)
        return wanted


def _remember(file: Path, wanted: DesiredState) -> None:
    try:
        replace_file(file, json.dumps(asdict(wanted)), flush=False)
    except OSError as error:
        _log.warning("which versions answer could not be kept for a start without the registry: %s", error)


def _remembered(file: Path) -> DesiredState | None:
    try:
        content = json.loads(file.read_text())
        return DesiredState(content["champion"], tuple(DeployedVersion(**lane) for lane in content["lanes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
