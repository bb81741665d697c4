"""Finds and removes a subject's rows in what training runs keep: the hold-out, and the reference of monitors.

These files have features, mostly without a key. So its rows are those that equal rows of the subject in the
training set that the run was made from: each at most as often as it is there, as rows of others can be equal.
Where that training set was purged, the current one tells, if it has rows of the subject.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Run
from polars.exceptions import PolarsError

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.errors import DataError, RegistryError, TrainingError
from tidemill.files.atomic import replacing
from tidemill.privacy.stores.earlier_versions import StoredContents
from tidemill.privacy.subject import Subject
from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import connect
from tidemill.training.tracking.run_files import fetch_file, log_table, read_file
from tidemill.training.tracking.training_record import Document, read_lineage
from tidemill.training.tracking.training_result import HOLDOUT, REFERENCE
from tidemill.training.training_rows import typed_feature

__all__ = ["RunSamples", "of_subject"]

_FEATURE = "feature."
"""Before the names of features in a reference."""
_ERASED = "tidemill.erased."
"""With a pseudonym, the tag of a run from whose files a subject was removed: equal rows there are others'."""


@dataclass(frozen=True)
class RunSamples:
    """The files of the project's runs that may hold rows of one subject."""

    project: Project
    subject: Subject
    contents: StoredContents | None
    """DVC's contents; None if the project is no repository."""

    def count(self, run_id: str) -> int | None:
        """Return how many rows of the subject a run keeps; None if no training set tells them apart.

        Raises:
            DataError: a file cannot be read.
        """
        client = connect(self.project)
        with _failing("read"):
            masks = [mask for _, mask, _ in self._files(client, client.get_run(run_id))]
        known = [int(mask.sum()) for mask in masks if mask is not None]
        return None if len(known) < len(masks) else sum(known)

    def remove(self, line: Callable[[str], None]) -> tuple[dict[str, int], list[str]]:
        """Rewrite the files of all runs without the subject.

        Returns:
            The number of removed rows, by run; the runs of which no training set tells whose the rows are.

        Raises:
            DataError: a file cannot be read or written.
        """
        client, removed, unknown = connect(self.project), {}, []
        with _failing("rewritten"):
            for run in self._runs(client):
                gone = 0
                for table, mask, put in self._files(client, run):
                    if mask is None and run.info.run_id not in unknown:
                        unknown.append(run.info.run_id)
                    if mask is not None and mask.any():
                        line(f"run {run.info.run_id}")
                        put(table.filter(~mask))
                        gone += int(mask.sum())
                if gone:
                    removed[str(run.info.run_id)] = gone
                    client.set_tag(run.info.run_id, self._tag, "rows were removed")
        return removed, unknown

    def left(self) -> dict[str, int]:
        """Return the runs that keep rows of the subject, each with how many, as far as that is known.

        Raises:
            DataError: a file cannot be read.
        """
        client = connect(self.project)
        with _failing("read"):
            rows = {
                str(run.info.run_id): sum(
                    int(mask.sum()) for _, mask, _ in self._files(client, run) if mask is not None
                )
                for run in self._runs(client)
            }
        return {run: count for run, count in rows.items() if count}

    @property
    def _tag(self) -> str:
        return _ERASED + "_".join(self.subject.pseudonyms.values())

    def _runs(self, client: MlflowClient) -> Iterator[Run]:
        experiment = client.get_experiment_by_name(self.project.config.project.name)
        token: str | None = None
        while experiment is not None:
            page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
            yield from (run for run in page if "mlflow.parentRunId" not in run.data.tags)
            token = page.token
            if not token:
                return

    def _files(
        self, client: MlflowClient, run: Run
    ) -> Iterator[tuple[pl.DataFrame, pl.Series | None, Callable[[pl.DataFrame], None]]]:
        """Yield each file of a run, which rows are the subject's (None if unknown), what replaces it."""
        for name in (HOLDOUT, REFERENCE):
            with TemporaryDirectory() as folder:
                try:
                    path = fetch_file(client, run.info.run_id, name, folder)
                except (MlflowException, OSError):
                    continue  # it keeps none
                table = pl.read_parquet(path, glob=False, memory_map=False)
                # What is in the store itself is replaced in one step; a copy is uploaded again.
                copied = path.is_relative_to(folder)

                def put(
                    rest: pl.DataFrame, name: str = name, own: Path | None = None if copied else path
                ) -> None:
                    if own is None:
                        log_table(client, run.info.run_id, rest, name)
                        return
                    with replacing(own) as new:
                        rest.write_parquet(new)

                yield table, self._mask(client, run, table), put

    def _mask(self, client: MlflowClient, run: Run, table: pl.DataFrame) -> pl.Series | None:
        by_key = self.subject.rows(table.schema)
        if by_key is not None:
            return table.select(by_key.alias("gone")).to_series()
        if self._tag in run.data.tags:
            return pl.repeat(False, table.height, dtype=pl.Boolean, eager=True)
        known = self._trained_rows(client, run)
        if known is None:
            return None
        return of_subject(table, known, self.project.config.dataset.label)

    def _trained_rows(self, client: MlflowClient, run: Run) -> pl.DataFrame | None:
        """Return the subject's rows of the training set of a run, or of the current one if that is gone."""

        def text(document: Document) -> str:
            return read_file(client, run.info.run_id, document.path).decode()

        try:
            data = read_lineage(run.data.tags, text).data
        except (RegistryError, MlflowException, OSError):
            return None
        md5 = data.get(self.project.config.dataset.path)
        if md5 is None or self.contents is None:
            return None
        with self.contents.local_copy(md5) as path:
            if path is not None:
                return self._rows_in(path)
        current = self.project.dataset_path
        known = self._rows_in(current) if current.is_file() else None
        return None if known is None or known.is_empty() else known

    def _rows_in(self, path: Path) -> pl.DataFrame:
        scan = pl.scan_parquet(path, glob=False)
        rows = self.subject.rows(scan.collect_schema())
        return scan.head(0).collect() if rows is None else scan.filter(rows).collect()


def of_subject(table: pl.DataFrame, known: pl.DataFrame, label: str = "") -> pl.Series:
    """Return which rows of a table equal rows of the subject, each at most as often as it has them.

    Args:
        table: a run's hold-out or reference.
        known: the subject's rows of the training set.
        label: name of the label, which is not compared: runs keep it as the task writes it.

    >>> import math
    >>> table = pl.DataFrame({"feature.a": [1.0, 2.0, 2.0, None], "feature.b": ["x", "y", "y", "x"]})
    >>> of_subject(table, pl.DataFrame({"id": [7, 7], "a": [2, None], "b": ["y", "x"]})).to_list()
    [False, True, False, True]
    >>> lists = pl.DataFrame({"e": [[1.0, math.nan], [2.0, None]]}, schema={"e": pl.Array(pl.Float64, 2)})
    >>> of_subject(lists, pl.DataFrame({"e": [[1.0, None]]})).to_list()
    [True, False]
    """
    prefixed = any(name.startswith(_FEATURE) for name in table.columns)
    columns: dict[str, pl.Series] = {}
    for name in table.columns:
        given = name.removeprefix(_FEATURE)
        if given == label or given not in known.columns or (prefixed and given == name):
            continue
        wanted, dtype = known[given], table.schema[name]
        if dtype in (pl.Float64, pl.String, pl.Array):  # as training reads features
            with suppress(TrainingError):
                wanted = typed_feature(wanted, given, "the training set")
        if wanted.dtype == dtype:
            columns[name] = wanted
    none = pl.repeat(False, table.height, dtype=pl.Boolean, eager=True)
    if not columns or known.is_empty():
        return none
    left = table.select(literal_names(columns)).with_row_index("\0row")
    for name, wanted in columns.items():
        if not isinstance(wanted.dtype, pl.Array):
            left = left.filter(pl.col(literal_name(name)).is_in(wanted.unique().implode(), nulls_equal=True))
    counts = Counter(map(_plain, zip(*columns.values(), strict=True)))
    gone = []
    for place, *values in left.iter_rows():
        row = _plain(values)
        if counts[row] > 0:
            counts[row] -= 1
            gone.append(place)
    return none.scatter(gone, True) if gone else none


def _plain(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(_elements(each) if isinstance(each, list | pl.Series) else each for each in values)


def _elements(values: Iterable[Any]) -> tuple[Any, ...] | None:
    """Return a list as `typed_feature` has it; runs of earlier releases kept NaN, which equals nothing."""
    found = tuple(None if each != each else each for each in values)
    return None if all(each is None for each in found) else found


@contextmanager
def _failing(doing: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError, PolarsError) as error:
        raise DataError(
            f"the rows that a run keeps cannot be {doing}: {str(error).strip().splitlines()[0]}",
            hint="see that MLflow's artifacts can be read and written, then `tidemill data erase --resume`",
        ) from error
