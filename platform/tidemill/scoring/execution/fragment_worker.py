"""Score fragments one after the other: read, score in batches, write the part, record it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from tidemill.project import Project
from tidemill.project.feature_columns import read_columns
from tidemill.scoring.execution.answer_columns import number_columns
from tidemill.scoring.execution.batch_rows import Model, Parts, Scored, output_schema, score_batch
from tidemill.scoring.execution.feature_values import FeatureKinds
from tidemill.scoring.execution.planning import logged_keys
from tidemill.scoring.execution.staging import Record, Staging, part_name
from tidemill.scoring.input.fragments import Fragment
from tidemill.scoring.input.row_reading import BATCH_ROWS, Columns, Reject, read
from tidemill.scoring.scoring_job import Job

__all__ = ["FragmentScorer", "Stopped", "write_table"]

_KEYED_ROWS = 1_000_000  # each lookup in the offline store reads its sources, so use few large ones


class Stopped(Exception):
    """The work was cancelled."""


@dataclass
class FragmentScorer:
    """Scores fragments of a job; threads may share it."""

    project: Project
    job: Job
    staging: Staging
    model: Model
    stopped: Callable[[], bool] = lambda: False
    """Checked between batches."""

    def __post_init__(self) -> None:
        job, keyed, application = self.job, None, None
        columns = read_columns(self.project) if self.project.config.features.source != "store" else ()
        if job.decide:
            application = self.project.load_application()
        if job.mode != "columns":
            from tidemill.scoring.execution.feature_lookup import (  # Feast takes seconds to import
                Latest,
                PointInTime,
                keys_of,
            )

            keys = keys_of(self.project)
            kind = Latest if job.mode == "online" else PointInTime
            kinds = FeatureKinds(job.features, self.model.words, self.model.lists)
            lookup = kind(self.project, keys, kinds, [column.name for column in columns])
            keyed = SimpleNamespace(keys=keys, lookup=lookup)
        given = job.log and job.mode == "columns"
        logged = [name for name in logged_keys(self.project) if name in job.schema.names] if given else []
        # An application of the project's own does not ask for them, nor do rows that bring all features
        # where requests bring some.
        own, brought = self.project.config.project.application, self.project.config.features.source
        asked = own is None and (brought == "request" or keyed is not None)
        always = frozenset() if keyed is None else keyed.keys.requested.columns
        required = [one.name for one in columns if one.required and (asked or one.name in always)]
        self._parts = Parts(job, self.model, keyed, application, columns, logged, required)
        self._log = None
        if job.log:
            from tidemill.scoring.execution.logged_predictions import BatchLog  # likewise

            kinds = FeatureKinds(job.features, self.model.words, self.model.lists)
            self._log = BatchLog(self.project, job, self.model.task, kinds)

    def score(self, fragment: Fragment) -> Record:
        """Score a fragment, and return its record, which is on the disk.

        Raises:
            TidemillError: it cannot be read, scored or written.
            Stopped: it was cancelled.
        """
        began = time.perf_counter()
        rejects: list[Reject] = []
        tables: list[int] = []
        waiting: list[Scored] = []

        def scored_tables() -> Iterator[pa.Table]:
            for scored in self._batches(fragment, rejects):
                tables.append(scored.table.num_rows)
                if self._log is not None:
                    waiting.append(scored)
                yield scored.table

        name = part_name(self.job, fragment.number)
        size = self.staging.publish_part(name, lambda path: write_table(path, self.job, scored_tables()))
        if self._log is not None:
            for scored in waiting:
                self._log.append(scored)
        rows, spent = sum(tables) + len(rejects), round(time.perf_counter() - began, 3)
        record = Record(fragment.number, rows, len(rejects), name, size, spent)
        self.staging.finish(record, rejects)
        return record

    def _batches(self, fragment: Fragment, rejects: list[Reject]) -> Iterator[Scored]:
        job, first = self.job, 0
        rows = _KEYED_ROWS if job.mode == "keys" else BATCH_ROWS
        for batch in read(job.files, fragment, Columns(job.schema, _in_files(job)), rows):
            if self.stopped():
                raise Stopped
            scored = score_batch(self._parts, batch, fragment.number, first)
            first += batch.table.num_rows
            rejects += scored.rejects
            yield scored


def write_table(path: Path, job: Job, batches: Iterator[pa.Table]) -> None:
    """Write tables to one parquet or CSV file."""
    schema = output_schema(job)
    if job.format == "csv":
        with pacsv.CSVWriter(path, schema) as writer:
            for table in batches:
                writer.write_table(table)
        return
    about = {"tidemill.model": job.model, "tidemill.version": job.version, "tidemill.job": job.id}
    varied = ("prediction_id", *number_columns(job.answer_fields))
    repeated = [name for name in schema.names if name not in varied]
    with pq.ParquetWriter(
        path,
        schema.with_metadata(about),
        compression="zstd",
        compression_level=1,
        use_dictionary=repeated,
        write_statistics=True,
    ) as writer:
        for table in batches:
            writer.write_table(table)


def _in_files(job: Job) -> dict[str, str]:
    return {ours: given for given, ours in job.rename.items()}
