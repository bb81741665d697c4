"""Keeps a journal of a search, from which another process goes on after this one was killed.

It is a file of JSON lines in the project's own folder: first what the search is made from, then each trial
that begins, each of its rounds, and how it ended. A line that was cut off by a kill is left out.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "JournalOfSearch",
    "KnownTrial",
    "SearchOrigin",
    "begin_journal",
    "find_journals",
    "journal_folder",
]

_FILE = "journal.jsonl"
_STOP = "stop"


@dataclass(frozen=True)
class SearchOrigin:
    """What a search is made from: only where all of it is the same can it be gone on with."""

    turn_id: str
    run_id: str
    made_from: Mapping[str, Any]
    """JSON values by what they are: data, code, features, settings, packages."""
    earlier: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """What the search begins with: families, and where the best parameters of earlier searches lie."""

    def changed(self, now: Mapping[str, Any]) -> list[str]:
        """Return what is another thing by now, in words.

        >>> SearchOrigin("t", "r", {"data": "9a", "settings": {"trials": 6}}).changed(
        ...     {"data": "9b", "settings": {"trials": 8}})
        ['data', 'settings (trials: 6, now 8)']
        >>> SearchOrigin("t", "r", {"settings": {"seed": 1}}).changed({"settings": {"seed": 1, "new": None}})
        []
        """
        names = sorted({*self.made_from, *now})
        found = (_said(name, self.made_from.get(name), now.get(name)) for name in names)
        return [each for each in found if each is not None]


def _said(name: str, before: Any, now: Any) -> str | None:
    """Return what has changed; None: nothing. What one release knows no value of is none in the other."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return name if before != now else None
    parts = [
        f"{key}: {before.get(key)}, now {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return f"{name} ({'; '.join(parts)})" if parts else None


@dataclass
class KnownTrial:
    """A trial of an earlier process."""

    number: int
    family: str
    point: Mapping[str, Any] | None
    """Where its parameters lie in the family's space; None: they are those that the search begins with."""
    run_id: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    """Where each round stands in the journal."""
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    end: str | None = None
    """FINISHED, KILLED (stopped early), or FAILED; None: it was running."""
    error: str | None = None
    place: int = 0
    """Its place among those that ended."""


class JournalOfSearch:
    """The journal of one search, to which lines are added.

    Args:
        folder: its own.
        origin: what the search is made from.
        trials: those that are in it already.
        seconds: how long the search had taken, when the last line was written.
    """

    def __init__(
        self, folder: Path, origin: SearchOrigin, trials: Mapping[int, KnownTrial], seconds: float = 0.0
    ) -> None:
        self.folder, self.origin, self.trials, self._before = folder, origin, trials, seconds
        self._began = time.monotonic()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / _FILE

    @property
    def seconds(self) -> float:
        """How long the search has taken, in all processes together."""
        return self._before + time.monotonic() - self._began

    def begin(self, number: int, family: str, point: Mapping[str, Any] | None, run_id: str) -> None:
        """Note a trial that begins, or begins again."""
        self._add({"trial": number, "family": family, "point": point, "run_id": run_id})

    def add_round(
        self, number: int, metrics: Mapping[str, float], cpu_seconds: float, gpu_seconds: float = 0.0
    ) -> None:
        """Note a round."""
        spent = {"cpu_seconds": cpu_seconds, "gpu_seconds": gpu_seconds}
        self._add({"round_of": number, "metrics": dict(metrics), **spent})

    def end(self, number: int, status: str, error: str | None) -> None:
        """Note how a trial ended; it is on the disk before this returns."""
        self._add({"end_of": number, "status": status, "error": error}, sync=True)

    def ask_to_stop(self, *, finish: bool) -> None:
        """Ask the process that makes the search to stop; with ``finish`` it goes on with the best so far."""
        (self.folder / _STOP).write_text("finish" if finish else "stop", encoding="utf-8")

    def asked_to_stop(self) -> str | None:
        """Return ``stop`` or ``finish`` if somebody asked for that."""
        try:
            return (self.folder / _STOP).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def forget_request(self) -> None:
        """Leave out what somebody asked an earlier process for."""
        (self.folder / _STOP).unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete it: the search has ended, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _add(self, line: Mapping[str, Any], *, sync: bool = False) -> None:
        text = json.dumps({**line, "seconds": round(self.seconds, 3)}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())


def begin_journal(home: Path, origin: SearchOrigin) -> JournalOfSearch:
    """Make the journal of a search that begins."""
    found = JournalOfSearch(journal_folder(home, origin.run_id), origin, {})
    found.folder.mkdir(parents=True, exist_ok=True)
    first = {"turn_id": origin.turn_id, "run_id": origin.run_id, "made_from": dict(origin.made_from)}
    found._add({**first, "earlier": [list(one) for one in origin.earlier]}, sync=True)
    return found


def journal_folder(home: Path, run_id: str) -> Path:
    """Return where the journal of a search lies, with the checkpoints of its trials."""
    return home / "searches" / run_id


def find_journals(home: Path) -> list[JournalOfSearch]:
    """Return the journals of searches that have not ended, latest first."""
    files = sorted((home / "searches").glob(f"*/{_FILE}"), key=lambda file: -file.stat().st_mtime)
    return [found for file in files if (found := _read(file)) is not None]


def _read(file: Path) -> JournalOfSearch | None:
    """Read a journal back; None if not even its first line was written.

    A line that a kill cut off is ended, so that the next one stands on its own.
    """
    text = file.read_bytes()
    if text and not text.endswith(b"\n"):
        with file.open("ab") as open_file:
            open_file.write(b"\n")
    lines = list(_lines(text.decode("utf-8", errors="replace")))
    if not lines or "made_from" not in lines[0]:
        return None
    first, *others = lines
    trials: dict[int, KnownTrial] = {}
    ended = 0
    for place, line in enumerate(others):
        if "trial" in line:
            trials[line["trial"]] = KnownTrial(line["trial"], line["family"], line["point"], line["run_id"])
        elif "round_of" in line:
            trials[line["round_of"]].rounds.append(line["metrics"])
            trials[line["round_of"]].lines.append(place)
            trials[line["round_of"]].cpu_seconds = line["cpu_seconds"]
            trials[line["round_of"]].gpu_seconds = line.get("gpu_seconds", 0.0)
        else:
            ended += 1
            known = trials[line["end_of"]]
            known.end, known.error, known.place = line["status"], line["error"], ended
    earlier = tuple((family, point) for family, point in first["earlier"])
    origin = SearchOrigin(first["turn_id"], first["run_id"], first["made_from"], earlier)
    return JournalOfSearch(file.parent, origin, trials, lines[-1]["seconds"])


def _lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off by a kill
