"""Store the finished parts of an unfinished job, with rejected rows and a record of each fragment.

On this machine all of it lies in ``.<output>.scoring`` beside the output. On an object store, which cannot
rename, parts go to their final place at once, and records to ``_scoring`` below it.
"""

import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import orjson

from tidemill.errors import DataError
from tidemill.files.atomic import replacing
from tidemill.scoring.input.row_reading import Reject
from tidemill.scoring.input.table_places import Place, reaching
from tidemill.scoring.scoring_job import Job, dumped, loaded

__all__ = ["Record", "Staging", "is_file", "is_part_of", "part_name"]


@dataclass(frozen=True)
class Record:
    """A finished fragment."""

    number: int
    rows: int
    """Scored and rejected ones."""
    rejected: int
    part: str | None
    """Name of its part of the output; none if it has no row."""
    size: int
    """Bytes of the part."""
    seconds: float
    """Time that a worker spent on it."""


def is_file(output: Place) -> bool:
    """Return whether an output's name means one file rather than a folder."""
    return PurePosixPath(output.path).suffix.lower() in (".parquet", ".csv")


def part_name(job: Job, number: int) -> str:
    """Return the name of a part, unique across jobs."""
    return f"part-{number:06d}-{job.id[-6:]}.{job.format}"


def is_part_of(job: Job, name: str) -> bool:
    """Return whether a file's name is that of a part of this job's output."""
    return name.startswith("part-") and name.endswith(f"-{job.id[-6:]}.{job.format}")


@dataclass(frozen=True)
class Staging:
    """The unfinished output of a job."""

    output: Place

    @property
    def base(self) -> Place:
        """The folder of the records."""
        if self.output.local is not None:
            return self.output.sibling(f".{self.output.name}.scoring")
        if is_file(self.output):
            return self.output.sibling(f"_{self.output.name}.scoring")
        return self.output.child("_scoring")

    @property
    def parts(self) -> Place:
        """The folder of the parts."""
        in_place = self.output.local is None and not is_file(self.output)
        return self.output if in_place else self.base.child("output")

    def job(self) -> Job | None:
        """Return the unfinished job, or None if there is none.

        Raises:
            DataError: its record is broken.
        """
        content = self.base.child("job.json").read()
        return None if content is None else loaded(content)

    def begin(self, job: Job) -> None:
        """Record a job, and remove leftovers of another one that was killed during its removal."""
        self.base.remove()
        if self.parts.local is not None:
            with reaching(self.parts):
                self.parts.local.mkdir(parents=True, exist_ok=True)
        self.base.child("job.json").write(dumped(job))

    def finished(self, job: Job) -> dict[int, Record]:
        """Return the job's finished fragments by number, without those whose part is missing or incomplete.

        Records that a surviving worker of an earlier, killed run still writes are ignored.
        """
        sizes = self._sizes()
        records = {}
        for name in self.base.child("done").names():
            content = self.base.child("done", name).read()
            if name.endswith(".json") and content:
                record = Record(**json.loads(content))
                ours = record.part is None or is_part_of(job, record.part)
                if ours and (record.part is None or sizes.get(record.part) == record.size):
                    records[record.number] = record
        return records

    def finish(self, record: Record, rejects: Iterable[Reject]) -> None:
        """Record a fragment with its rejected rows."""
        if record.rejected:
            lines = b"".join(
                orjson.dumps(
                    {**asdict(reject), "row": reject.row + 1},
                    str,
                    orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS,
                )
                for reject in rejects
            )
            self.rejects_of(record.number).write(lines)
        self.base.child("done", f"{record.number:06d}.json").write(json.dumps(asdict(record)).encode())

    def rejects_of(self, number: int) -> Place:
        """Return the file of a fragment's rejected rows."""
        return self.base.child("rejects", f"{number:06d}.ndjson")

    def publish_part(self, name: str, write: Callable[[Path], None]) -> int:
        """Write a part atomically; return its size in bytes.

        Raises:
            DataError: there is no room for it, or the place cannot be reached.
        """
        local = self.parts.local
        try:
            if local is not None:
                with replacing(local / name) as draft:
                    write(draft)
                return (local / name).stat().st_size
            with tempfile.TemporaryDirectory(prefix="tidemill-score-") as folder:
                temporary = Path(folder) / name
                write(temporary)
                with reaching(self.parts):
                    self.parts.files.put_file(str(temporary), self.parts.child(name).path)
                return temporary.stat().st_size
        except OSError as error:
            raise DataError(
                f"{self.parts.text} cannot be written: {error.strerror or error}",
                hint="free space there; --resume goes on with what is finished",
            ) from error

    def clear(self, job: Job | None) -> None:
        """Remove all files, with the parts that a job has already put in place on an object store."""
        if job is not None and self.parts.path == self.output.path:
            for name in self.parts.names():
                if is_part_of(job, name):
                    self.parts.child(name).remove()
        replaced = self.base.child("replaced").local
        if replaced is not None and replaced.exists() and not self.output.exists():
            replaced.rename(self.output.path)  # it was killed between two renames
        self.base.remove()

    def _sizes(self) -> dict[str, int]:
        with reaching(self.parts):
            self.parts.files.invalidate_cache()
            try:
                found = self.parts.files.ls(self.parts.path, detail=True)
            except FileNotFoundError:
                return {}
        return {PurePosixPath(info["name"]).name: int(info["size"] or 0) for info in found}
