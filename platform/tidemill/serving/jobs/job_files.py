"""The files of a job: its instances, the predictions of each chunk, and a lock that ends with its holder.

Layout, below ``.tidemill/jobs``::

    <id>/instances.ndjson     what was submitted, one instance a line; removed when the job has ended
    <id>/prepared.json        the chunk under way: what goes into the log, and what is answered
    <id>/chunk-00000500.ndjson  what is answered for the rows from 500 on, one prediction a line
    <id>/lock                 held by the worker that runs the job

Every file is written atomically: beside its place, and then moved there.
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tidemill.errors import ServingError
from tidemill.files.atomic import flush_folder, replacing
from tidemill.files.locks import close_locked, try_lock
from tidemill.project import Project

__all__ = ["JobFiles", "jobs_folder"]

_LOCK = "lock"


def jobs_folder(project: Project) -> Path:
    """Return where the jobs of a project lie."""
    return project.home / "jobs"


@dataclass(frozen=True)
class JobFiles:
    """The files of one job.

    >>> import tempfile
    >>> files = JobFiles(Path(tempfile.mkdtemp()) / "job_1")
    >>> files.create([b'{"depot":"north"}', b'{"depot":"south"}', b'{"depot":"east"}'])
    >>> list(files.chunks(first=1, rows=5))
    [[{'depot': 'south'}, {'depot': 'east'}]]
    >>> files.write_chunk(0, [{"probability": 0.25}])
    >>> b"".join(files.results())
    b'{"probability":0.25}\\n'
    """

    folder: Path

    def create(self, lines: Iterable[bytes]) -> None:
        """Write the instances, flushed to the disk: what was accepted is not lost.

        Raises:
            ServingError: the disk is full or broken; nothing is left.
        """
        try:
            self.folder.mkdir(parents=True, mode=0o700)
            _write(self._instances, lines, flush=True)
            flush_folder(self.folder.parent)
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ServingError(
                f"the job cannot be stored: {self.folder}: {error.strerror or error}",
                hint="free space there",
            ) from error

    def chunks(self, first: int, rows: int) -> Iterator[list[Any]]:
        """Yield the instances from row ``first`` on, ``rows`` at a time.

        Raises:
            ServingError: they are gone.
        """
        try:
            with self._instances.open("rb") as file:
                lines = islice(file, first, None)
                while chunk := [orjson.loads(line) for line in islice(lines, rows)]:
                    yield chunk
        except (OSError, orjson.JSONDecodeError) as error:
            raise ServingError(
                f"the job's instances cannot be read: {self._instances}: {error}", hint="submit the job again"
            ) from error

    def prepare(self, first: int, records: Sequence[Any], answers: Sequence[Mapping[str, Any]]) -> None:
        """Write the records and answers of the rows from ``first`` on, before they are logged."""
        content = orjson.dumps({"first": first, "records": records, "answers": answers}, str)
        _write(self._prepared, [content], flush=False)

    def prepared(self, first: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
        """Return the records and answers that were prepared for the rows from ``first`` on; None if none."""
        try:
            content = orjson.loads(self._prepared.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None
        return (content["records"], content["answers"]) if content["first"] == first else None

    def write_chunk(self, first: int, answers: Iterable[Mapping[str, Any]]) -> None:
        """Write the answers of the rows from ``first`` on."""
        _write(
            self._chunk(first),
            (orjson.dumps(answer, str) for answer in answers),
            flush=True,  # the record that says so may be on another disk
        )

    def results(self) -> Iterator[bytes]:
        """Yield the answers, in the order of the instances, as lines of JSON: a chunk at a time.

        Raises:
            ServingError: they have just been removed.
        """
        chunks = sorted(self.folder.glob("chunk-*.ndjson"))
        if not chunks or chunks[0] != self._chunk(0):
            raise ServingError(f"the job's result is gone: {self.folder}", hint="submit the job again")
        for path in chunks:
            yield path.read_bytes()

    def drop_input(self) -> None:
        """Remove the files that only an unfinished job needs."""
        self._instances.unlink(missing_ok=True)
        self._prepared.unlink(missing_ok=True)

    def stored(self) -> list[Path]:
        """Return every file of what was submitted or answered, half-written ones included."""
        return sorted(path for path in self.folder.glob("*") if path.name != _LOCK)

    def erase(self) -> None:
        """Remove everything but the lock, which the caller holds; answers from the first on.

        Raises:
            ServingError: a file cannot be removed.
        """
        try:
            for path in self.stored():
                path.unlink(missing_ok=True)
            if self.folder.is_dir():
                flush_folder(self.folder)
        except OSError as error:
            raise ServingError(
                f"the job's files cannot be removed: {self.folder}: {error.strerror or error}",
                hint="make the folder writable",
            ) from error

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Take the job's lock if it is free, and yield whether it is held now.

        The operating system lets go of it when the holder's process ends, in whatever way: who gets the lock
        of a job that is said to run knows that its worker is dead.
        """
        try:
            descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:  # the whole folder is gone: nothing is left to wait for
            yield True
            return
        try:
            yield try_lock(descriptor)
        finally:
            close_locked(descriptor)

    def _chunk(self, first: int) -> Path:
        return self.folder / f"chunk-{first:08}.ndjson"

    @property
    def _instances(self) -> Path:
        return self.folder / "instances.ndjson"

    @property
    def _prepared(self) -> Path:
        return self.folder / "prepared.json"


def _write(path: Path, lines: Iterable[bytes], flush: bool) -> None:
    with replacing(path, mode=0o600, flush=flush) as draft, draft.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
