"""Stage 3: the rows with a label that is known, with their features."""

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from tidemill.clock import parse_duration
from tidemill.data.tables.column_names import literal_name
from tidemill.data.tables.column_types import spell_dtype
from tidemill.data.tables.known_rows import known_at
from tidemill.data.validation.pandera_checks import as_moments
from tidemill.errors import ConfigError, DataError
from tidemill.files.atomic import replacing
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.project.feature_columns import ColumnType, read_columns
from tidemill.project.moments import declared_moment
from tidemill.stages.ingest import data_section, table_rules
from tidemill.stages.stage_process import run_stage, say

__all__ = ["LATER_ROWS", "write_training_set"]

LATER_ROWS = "tidemill.later_rows"
"""Name in the file's metadata: the number of rows left out because their label was known too late."""

_TYPES: dict[ColumnType, pl.DataType] = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
    "list": pl.List(pl.Float64),
}


def write_training_set(project: Project) -> None:
    """Write the columns key, time, features, label and when the label was known; in order of time.

    Raises:
        DataError: a declared column is not in the table, or no row has a label that is known.
        ConfigError: ``features.yaml`` or ``params.yaml`` is wrong.
    """
    path, dataset = _clean(project), project.config.dataset
    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
        columns = _columns(project, schema)
        kept = table.filter(pl.col(literal_name(dataset.label)).is_not_null())
        if dataset.time is not None:
            kept = kept.filter(pl.col(literal_name(dataset.time)).is_not_null())
        found = kept.select(columns)
        if dataset.label_known is not None:
            _check_is_no_other(project, dataset.label_known, found.collect_schema())
            known = _known(project, dataset.label_known, schema)
            found = kept.select(*columns, known.alias(dataset.label_known))
        moment, later = declared_moment(project), 0
        if dataset.time is not None:
            in_time = known_at(moment, dataset.time, dataset.label_known)
            later = int(found.select((~in_time).sum()).collect().item())
            found = found.filter(in_time)
            found = found.sort(literal_name(dataset.time_column), maintain_order=True)
        project.dataset_path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(project.dataset_path) as draft:
            found.sink_parquet(draft, metadata={LATER_ROWS: str(later)} if later else None)
            rows = _count(draft)
            if not rows:
                raise DataError(
                    f"no row of {path} has a {dataset.label} known by {moment:%Y-%m-%d}",
                    hint="see data.as_of and data.labels_after in params.yaml",
                )
    except (OSError, PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="run stage validate again") from error
    left_out = f"; {later:,} left out, known later than {moment:%Y-%m-%d %H:%M} UTC" if later else ""
    features = counted(len(read_columns(project)), "feature")
    say(f"training set: {counted(rows, 'labelled row')}, {features}{left_out}")


def _clean(project: Project) -> Path:
    rules = table_rules(project)
    return project.root / (rules.accepted or rules.source)


def _columns(project: Project, schema: pl.Schema) -> list[pl.Expr]:
    dataset, section = project.config.dataset, data_section(project)
    features = {column.name: column.type for column in read_columns(project)}
    others = [section.get("key"), dataset.group, dataset.time, dataset.label]
    names = dict.fromkeys([*(name for name in others if isinstance(name, str)), *features])
    if missing := [name for name in names if name not in schema]:
        raise DataError(
            f"the table has no column {', '.join(missing)}, which features.yaml or params.yaml names",
            hint="remove it there, or see what data.source names",
        )
    columns = []
    for name in names:
        column = pl.col(literal_name(name))
        if name == dataset.time or features.get(name) == "moment":
            column = as_moments(name, schema[name])
        elif name in features and name != dataset.label:
            whole = features[name] == "integer" and schema[name].is_integer()  # unsigned ones need 64 bits
            column = column if whole else column.cast(_TYPES[features[name]])
        elif name == dataset.label and schema[name].is_decimal():  # which neither JSON nor a metric has
            column = column.cast(pl.Float64)
        columns.append(column.alias(name))
    return columns


def _check_is_no_other(project: Project, known: str, schema: pl.Schema) -> None:
    if known in schema:
        raise ConfigError(
            f"{project.root / 'params.yaml'}: dataset.label_known is {known}, which is a feature, the key, "
            "the time or the label, too",
            hint="name a column of the table that is none of these, or, with data.labels_after, a new one",
        )


def _known(project: Project, name: str, schema: pl.Schema) -> pl.Expr:
    """Return since when the label is known: by a column of the table, or by the time and ``labels_after``."""
    file, after = project.root / "params.yaml", data_section(project).get("labels_after")
    time = project.config.dataset.time_column
    if (name in schema) == (after is not None):
        what = f"{name} is {'no' if after is None else 'a'} column of the table"
        raise ConfigError(
            f"{file}: dataset.label_known says when a label is known, but {what}, and data.labels_after is "
            f"{after or 'null'}",
            hint="name a column of the table, without labels_after, or a new name, with labels_after such as "
            "2d; where labels are known at once, set dataset.label_known to null",
        )
    if after is None:
        if not schema[name].is_temporal():
            raise ConfigError(
                f"{file}: dataset.label_known is {name}, which has no moments in the table but "
                f"{spell_dtype(schema[name])}",
                hint="data.formats and expectations.yaml say how its moments are written",
            )
        return as_moments(name, schema[name])
    try:
        return as_moments(time, schema[time]) + pl.lit(parse_duration(after))
    except ValueError as error:
        raise ConfigError(
            f"{file}: data.labels_after is {after!r}: {error}", hint="write it like 2d"
        ) from error


def _count(path: Path) -> int:
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


if __name__ == "__main__":
    run_stage(write_training_set)
