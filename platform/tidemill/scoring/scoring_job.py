"""The request for a batch scoring, and the job made from it: everything its result depends on."""

import base64
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa

from tidemill.errors import DataError
from tidemill.scoring.input.fragments import Fragment, Piece
from tidemill.scoring.input.table_places import SourceFile
from tidemill.tasks.answer_fields import AnswerField

__all__ = ["Job", "Mode", "ScoreRequest", "differences", "dumped", "fingerprint", "loaded"]

Mode = Literal["columns", "keys", "online"]
_PROBABILITY = (AnswerField("probability", "number"),)
_LAYOUT = 1
_INCIDENTAL = ("id", "started_at", "code")
"""Fields that may differ between the beginning of a job and its resumption."""


@dataclass(frozen=True)
class ScoreRequest:
    """A request for a batch scoring."""

    inputs: tuple[str, ...]
    """Files, folders, patterns or addresses; relative ones start at the current folder."""
    output: str
    """A folder, or a file that ends in ``.parquet`` or ``.csv``."""
    version: str = "champion"
    """A number or an alias; an alias is resolved once, at the beginning."""
    features: Mode | None = None
    """Where the features come from; none: columns if the input has them all, else keys."""
    at_column: str | None = None
    """The moment of each row's prediction; none: ``event_timestamp``, if there is such a column, and no
    feature is called so."""
    at: datetime | None = None
    """One moment for all rows, in place of a column."""
    default_at: datetime | None = None
    """One moment for all rows, if there is no column of moments."""
    keep: tuple[str, ...] | None = None
    """Columns of the input that go into the output; none: all that are no features of the version, and
    ``("*",)`` all."""
    rename: dict[str, str] = field(default_factory=dict)
    """Name in the input → name that the version, the keys and the output have."""
    decide: bool | None = None
    """Whether rows are instances of the application's request; none: if they have its columns."""
    format: Literal["parquet", "csv"] | None = None
    """Of the output's parts; none: by the output's name, else parquet."""
    log: bool = False
    """Whether the predictions go into the prediction log, too."""
    max_rejected: int = 0
    """The most rejected rows with which the output is published."""
    existing: Literal["refuse", "resume", "restart"] = "refuse"
    """How an unfinished job for the same output is treated."""
    overwrite: bool = False
    """Whether an existing output is replaced."""
    workers: int | None = None
    """Processes on Ray; 0: none, in this process; none: by the size of the input."""
    part_rows: int | None = None
    """Rows of a part, roughly: row groups stay whole. None: by the work."""


@dataclass(frozen=True)
class Job:
    """One batch scoring: everything that its output depends on, fixed at its beginning."""

    id: str
    """``score_`` and 16 characters: milliseconds and a random part; with a row's number they form its id."""
    started_at: datetime
    """Wall-clock time."""
    model: str
    version: str
    mode: Mode
    features: tuple[str, ...]
    """Of the version, in its order."""
    service: str | None
    """The feature service, unless features are given as columns."""
    definition: str | None
    """Hash of its definition."""
    at_column: str | None
    at: datetime | None
    keep: tuple[str, ...]
    rename: dict[str, str]
    decide: bool
    format: Literal["parquet", "csv"]
    log: bool
    schema: pa.Schema
    """Of what is read."""
    files: tuple[SourceFile, ...]
    fragments: tuple[Fragment, ...]
    code: dict[str, str]
    """Versions of Tidemill and of the project."""
    answer_fields: tuple[AnswerField, ...] = _PROBABILITY
    """What the version answers."""
    formats: dict[str, str] = field(default_factory=dict)
    """How the text in columns is written, as the project's ``data.formats`` says it."""

    @property
    def rows(self) -> int:
        """Rows of the input; of text files, roughly."""
        return sum(fragment.rows for fragment in self.fragments)


def differences(before: Job, now: Job) -> list[str]:
    """Return the differences of two jobs, one sentence each; files first."""
    told = []
    old, new = ({file.address: file for file in job.files} for job in (before, now))
    for address in dict.fromkeys([*old, *new]):
        if address not in new:
            told.append(f"{address} is gone")
        elif address not in old:
            told.append(f"{address} is new")
        elif old[address] != new[address]:
            told.append(f"{address} has changed")
    for each in fields(Job):
        if each.name in (*_INCIDENTAL, "files", "fragments") or (told and each.name == "schema"):
            continue
        was, is_ = getattr(before, each.name), getattr(now, each.name)
        if was != is_:
            plain = each.name != "schema" and len(f"{was}{is_}") < 100
            told.append(f"{each.name} was {was} and is {is_}" if plain else f"{each.name} has changed")
    if not told and before.fragments != now.fragments:
        told.append("the size of the parts has changed")
    return told


def fingerprint(job: Job) -> str:
    """Return a hash of everything that a job's output depends on, except the ids of its predictions."""
    facts = {name: value for name, value in json.loads(dumped(job)).items() if name not in _INCIDENTAL}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def dumped(job: Job) -> bytes:
    """Return a job as JSON."""
    facts: dict[str, Any] = {"layout": _LAYOUT}
    for each in fields(Job):
        value = getattr(job, each.name)
        if isinstance(value, datetime):
            value = value.astimezone(UTC).isoformat()
        elif isinstance(value, pa.Schema):
            value = base64.b64encode(value.serialize()).decode()
        elif each.name in ("files", "fragments"):
            value = [asdict(one) for one in value]
        facts[each.name] = value
    return json.dumps(facts).encode()


def loaded(content: bytes) -> Job:
    """Return the job that `dumped` gave.

    Raises:
        DataError: it is not a job, or of another version of Tidemill.
    """
    try:
        facts = json.loads(content)
        if facts.pop("layout") != _LAYOUT:
            raise ValueError("it is of another version of tidemill")
        facts["schema"] = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(facts["schema"])))
        facts["files"] = tuple(_file(file) for file in facts["files"])
        facts["fragments"] = tuple(
            Fragment(one["number"], tuple(_piece(piece) for piece in one["pieces"]))
            for one in facts["fragments"]
        )
        for name in ("started_at", "at"):
            facts[name] = facts[name] and datetime.fromisoformat(facts[name])
        for name in ("features", "keep"):
            facts[name] = tuple(facts[name])
        if "answer_fields" in facts:
            facts["answer_fields"] = tuple(
                AnswerField(name, kind, tuple(keys)) for name, kind, keys, _ in facts["answer_fields"]
            )
        return Job(**facts)
    except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"the record of the unfinished run is broken: {error}", hint="--restart") from error


def _file(facts: dict[str, Any]) -> SourceFile:
    partitions = tuple((name, value) for name, value in facts.pop("partitions"))
    lists = {"header": tuple(facts["header"]), "nested": tuple(map(tuple, facts.get("nested", ())))}
    return SourceFile(**{**facts, **lists}, partitions=partitions)


def _piece(facts: dict[str, Any]) -> Piece:
    return Piece(**{**facts, "row_groups": tuple(facts["row_groups"])})
