"""Compares the features in the prediction log with those that a training set would contain (skew).

For the keys and the moment of each logged prediction, it calls the function that makes training sets
(`training_frame`). It reads the log in batches of whole days, so memory does not grow with the log.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from tidemill.clock import utc
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.errors import ConfigError, ModelNotFound, UsageError
from tidemill.features.feature_store import definition_hash, get_service, open_store, training_frame
from tidemill.features.personal_fields import personal_fields
from tidemill.features.request_features import REQUEST
from tidemill.features.skew.comparison import BatchDifferences, compare_batch
from tidemill.features.skew.feature_sources import trace_origins
from tidemill.features.skew.logged_keys import Resolver, read_keys
from tidemill.features.skew.provenance import Provenance
from tidemill.features.skew.skew_report import SkewReport
from tidemill.features.skew.skew_summary import summarise
from tidemill.prediction_log.prediction_log import FEATURE_PREFIX, logged_days, read_predictions
from tidemill.prediction_log.storage.log_schema import stacked
from tidemill.project import Project
from tidemill.registry.versions.model_versions import get_version

__all__ = ["LogSlice", "measure_skew", "require_comparable"]

_BATCH_ROWS = 200_000
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class LogSlice:
    """The logged predictions to compare: those with ``start <= at < end``, event time, aware."""

    start: datetime
    end: datetime
    version: str | None = None
    """One model version only."""
    features: frozenset[str] | None = None
    """These features only."""
    include_test: bool = False


def measure_skew(
    project: Project,
    wanted: LogSlice,
    threshold: float,
    tolerance: float = 1e-6,
    listen: Callable[[int, int], None] | None = None,
) -> SkewReport:
    """Compare served features with those of a training set, by the definitions that are applied now.

    Args:
        project: the project with the log, definitions and sources.
        wanted: the predictions to compare.
        threshold: a feature counts as skewed if at least this share of its rows differs.
        tolerance: largest relative difference between values that count as equal.
        listen: called after each batch with the number of finished days and of all logged days.

    Raises:
        FeatureError: definitions were not applied, or a source cannot be read.
        UsageError: the service has no such feature.
    """
    require_comparable(project)
    began = time.perf_counter()
    store = open_store(project)
    service = get_service(store, project.feature_service)
    origins = trace_origins(store, service)
    personal = personal_fields(store) & origins.features.keys()
    _check_names(wanted.features, origins)
    skip = personal | (origins.features.keys() - wanted.features if wanted.features is not None else set())
    resolver = Resolver(origins, lambda values: Pseudonymiser(load_key(project)).hide_series(values))
    changed = _Definitions(project, definition_hash(project))
    tallies: list[BatchDifferences] = []
    predictions = without_keys = 0
    for rows, done, total in _batches(project, wanted):
        predictions += rows.height
        usable = rows.filter(pl.col("keys").is_not_null())
        without_keys += rows.height - usable.height
        for part in usable.iter_slices(_BATCH_ROWS):
            absent = {name for name in origins.features if f"{FEATURE_PREFIX}{name}" not in part.columns}
            beside = _with_expected(project, part, origins, resolver, changed)
            tallies.append(compare_batch(beside, origins, tolerance, skip | absent))
        if listen is not None:
            listen(done, total)
    named = {name: view for name, view in origins.features.items() if name not in skip}
    return SkewReport(
        model=project.model,
        service=service.name,
        start=utc(wanted.start),
        end=utc(wanted.end),
        threshold=threshold,
        tolerance=tolerance,
        predictions=predictions,
        without_keys=without_keys,
        reaches={source.name: source.newest for source in origins.sources},
        features=summarise(tallies, named, threshold),
        not_logged=tuple(sorted(personal)),
        seconds=time.perf_counter() - began,
    )


def require_comparable(project: Project) -> None:
    """Check that there is a feature store whose features could differ between training and serving.

    Raises:
        ConfigError: the project has no feature store.
    """
    if not project.has_store:
        raise ConfigError(
            "skew does not apply to this project: its features come in the request, so a training set cannot "
            "have looked up others",
            hint="remove feature_skew from the monitors; data_drift compares requests with the training set",
        )


def _with_expected(
    project: Project, part: pl.DataFrame, origins: Provenance, resolver: Resolver, changed: "_Definitions"
) -> pl.DataFrame:
    """Return predictions with their keys in columns, and with the features that a training set would have."""
    keys, unresolved = resolver.resolve(read_keys(part["keys"], origins.types))
    expected = training_frame(project, keys.with_columns(event_timestamp=part["at"]))
    return part.drop("keys").hstack(
        [
            unresolved.alias("unresolved"),
            changed.of(part["version"]),
            *(keys[name].alias(f"key.{name}") for name in keys.columns),
            *(_expected(part, expected[name], name) for name in origins.features),
        ]
    )


def _expected(served: pl.DataFrame, expected: pl.Series, name: str) -> pl.Series:
    """Return the values of a training set; where the request brought the value, that one."""
    column = f"{FEATURE_PREFIX}{name}"
    if column not in served.columns:
        return expected.alias(f"expected.{name}")
    brought = served["flags"].list.contains(f"{REQUEST}:{name}").fill_null(False)
    if not brought.any():
        return expected.alias(f"expected.{name}")
    return served[column].zip_with(brought, expected.cast(served[column].dtype)).alias(f"expected.{name}")


def _check_names(names: Collection[str] | None, origins: Provenance) -> None:
    unknown = sorted(set(names or ()) - origins.features.keys())
    if unknown:
        raise UsageError(
            f"the service has no feature {', '.join(map(repr, unknown))}",
            hint=f"it has: {', '.join(origins.features)}",
        )


def _batches(project: Project, wanted: LogSlice) -> Iterator[tuple[pl.DataFrame, int, int]]:
    """Yield batches of predictions of whole days, with the number of finished days and of all days.

    A batch contains only predictions with the same features, so that a feature of another version does not
    count as missing.
    """
    start, end = utc(wanted.start), utc(wanted.end)
    days = [
        day for day in logged_days(project.predictions, project.model) if start.date() <= day <= end.date()
    ]
    waiting: list[pl.DataFrame] = []
    for done, day in enumerate(days):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        span = max(start, midnight), min(end, midnight + _DAY)
        rows = _columns(
            read_predictions(project.predictions, project.model, *span, wanted.include_test), wanted.version
        )
        full = sum(each.height for each in waiting) >= _BATCH_ROWS
        if waiting and (full or set(rows.columns) != set(waiting[0].columns)):
            yield stacked(waiting), done, len(days)
            waiting = []
        if rows.height:
            waiting.append(rows)
    if waiting:
        yield stacked(waiting), len(days), len(days)


def _columns(rows: pl.DataFrame, version: str | None) -> pl.DataFrame:
    rows = rows.filter(pl.col("version") == version) if version is not None else rows
    features = [name for name in rows.columns if name.startswith(FEATURE_PREFIX)]
    return rows.select("prediction_id", "version", "at", "served_at", "flags", "keys", *features)


class _Definitions:
    """Finds the versions that were trained on definitions other than those applied now."""

    def __init__(self, project: Project, applied: str) -> None:
        self._project = project
        self._applied = applied
        self._others: dict[str, bool] = {}

    def of(self, versions: pl.Series) -> pl.Series:
        """Return for each row whether its version was; False for a version that is not in the registry."""
        for version in versions.unique():
            if version not in self._others:
                self._others[version] = self._differs(version)
        other = [version for version, differs in self._others.items() if differs]
        return versions.is_in(other).alias("other_definition")

    def _differs(self, version: str) -> bool:
        try:
            lineage = get_version(self._project, version).lineage
        except ModelNotFound:
            return False
        return lineage is not None and lineage.feature_definition != self._applied
