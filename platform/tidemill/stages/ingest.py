"""Stage 1: reads the rows of ``data.source``, makes gaps nulls, and leaves erased subjects out."""

from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polars.exceptions import PolarsError

from tidemill.data.expectations.declarations import EXPECTATIONS, declared_sets
from tidemill.data.expectations.rules import DatasetRules
from tidemill.data.personal.tombstones import keep_expression
from tidemill.data.profiling.source_tables import open_source
from tidemill.data.profiling.text_values import conformed, is_format
from tidemill.data.tables.frames import unreadable
from tidemill.errors import ConfigError, DataError
from tidemill.files.atomic import replacing
from tidemill.project import Project
from tidemill.project.feature_columns import COLUMNS_FILE, read_columns
from tidemill.project.gap_words import class_gaps, text_gaps
from tidemill.stages.stage_process import run_stage

__all__ = ["column_formats", "data_section", "ingest_table", "table_rules"]

_TABLE = "table"
"""Name that `tidemill init` gives the data set."""
_NAMES = ("source", "formats", "key", "labels_after", "as_of")


def ingest_table(project: Project) -> None:
    """Write the source of the project's table (`table_rules`).

    Raises:
        ConfigError: ``data.source`` is not set, or it is not known which data set is the table.
        DataError: the rows cannot be read or written.
    """
    section = data_section(project)
    source = section.get("source")
    if not isinstance(source, str):
        raise ConfigError(
            f"{project.root / 'params.yaml'}: data.source is {source!r}, not where a table is",
            hint="write it as /srv/orders.csv or sqlite:////srv/shop.db::orders",
        )
    rules = table_rules(project)
    formats = column_formats(project)
    target = project.root / rules.source
    with TemporaryDirectory(prefix="tidemill-ingest-") as folder:
        raw = open_source(source, project.root, Path(folder), rules.columns)
        try:
            table = conformed(raw, rules.dtypes, formats, _gaps(project))
            keep = keep_expression(table.collect_schema().names(), project)
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as draft:
                (table if keep is None else table.filter(keep)).sink_parquet(draft)
        except PolarsError as error:
            raise unreadable(Path(source), error) from error
        except OSError as error:
            raise DataError(
                f"{source} cannot be copied to {target}: {error}",
                hint="check that it is complete, and that the disk has space",
            ) from error


def _gaps(project: Project) -> dict[str, tuple[str, ...]]:
    """Return what means a gap in the label and in features of text, where their classes are declared."""
    listed = read_columns(project) if (project.root / COLUMNS_FILE).exists() else ()
    found = {column.name: text_gaps(column.categories) for column in listed if column.categories}
    dataset = project.config.dataset
    return found | ({dataset.label: class_gaps(list(map(str, dataset.classes)))} if dataset.classes else {})


def table_rules(project: Project) -> DatasetRules:
    """Return the rules of the table that the stages write: the only data set, or of several ``table``.

    Raises:
        ConfigError: there are several, and none of this name.
    """
    declared = declared_sets(project).datasets
    if len(declared) > 1 and _TABLE not in declared:
        raise ConfigError(
            f"{project.root / EXPECTATIONS} declares {', '.join(declared)}: which one is the table that "
            "data.source fills is not known",
            hint=f"call that one {_TABLE!r}",
        )
    return declared[_TABLE] if len(declared) > 1 else next(iter(declared.values()))


def column_formats(project: Project) -> dict[str, str]:
    """Return how the numbers and moments of columns are written: ``data.formats`` of ``params.yaml``.

    Raises:
        ConfigError: one is no format.
    """
    section = data_section(project)
    formats = section.get("formats") or {}
    for name, form in formats.items():
        if not is_format(form):
            raise ConfigError(
                f"{project.root / 'params.yaml'}: data.formats.{name} is {form!r}, which is no format",
                hint="moments: '%d.%m.%Y %H:%M', seconds; numbers with a decimal comma: '1.234,56'; with "
                "commas between thousands: '1,234.56'; with a sign: '1,234.56 €'",
            )
    return dict(formats)


def data_section(project: Project) -> dict[str, Any]:
    """Return the section ``data`` of ``params.yaml``, where a project may have names of its own, too.

    Raises:
        ConfigError: a name is almost one of those that the stages read.
    """
    section = project.params.get("data")
    if not isinstance(section, dict):
        return {}
    for name in section:
        near = get_close_matches(str(name), _NAMES, n=1, cutoff=0.6)
        if near and name not in _NAMES and near[0] not in section:
            raise ConfigError(
                f"{project.root / 'params.yaml'}: data has no field {name!r}",
                hint=f"did you mean {near[0]!r}?",
            )
    return section


if __name__ == "__main__":
    run_stage(ingest_table)
