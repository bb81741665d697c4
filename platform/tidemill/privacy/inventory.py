"""Lists the personal data of a project: fields, declarations, places, and whether the log hides them."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from polars.exceptions import PolarsError

from tidemill.data.personal.pii_detection import looks_personal
from tidemill.data.personal.pseudonyms import key_source
from tidemill.data.personal.tombstones import read_tombstones
from tidemill.data.tables.csv_headers import separator_of
from tidemill.errors import TidemillError
from tidemill.features.personal_fields import declared_personal
from tidemill.features.project_features import hidden_fields
from tidemill.privacy.erasure.erasure_record import pending_orders
from tidemill.privacy.stores.row_places import find_places
from tidemill.privacy.stores.table_subjects import files_below, format_of
from tidemill.project import Project

__all__ = ["FieldInventory", "PrivacyInventory", "UndeclaredField", "take_inventory"]

_SAMPLED = 1000
"""Rows of a file that tell whether a column looks personal."""


@dataclass(frozen=True)
class FieldInventory:
    """One personal field."""

    name: str
    kind: str
    """``key``, ``request`` or ``feature``."""
    declared: str
    """The definition that has the tag."""
    views: tuple[str, ...]
    files: tuple[str, ...]
    """Places with a column of that name whose values are not pseudonyms."""
    hidden: bool
    """Whether replicas that load a model from now on hide it in the prediction log."""


@dataclass(frozen=True)
class UndeclaredField:
    """A column that looks personal, and that nothing declares."""

    name: str
    kind: str
    """What its values seem to be, such as ``e-mail addresses``."""
    files: tuple[str, ...]


@dataclass(frozen=True)
class PrivacyInventory:
    """The personal data of a project."""

    fields: tuple[FieldInventory, ...]
    key: str
    """Source of the key for pseudonyms."""
    tombstones: int
    """Subjects that were erased."""
    unfinished: int
    """Erasures that were killed or blocked."""
    undeclared: tuple[UndeclaredField, ...] = ()
    """Columns of stored rows that look personal by their names or values."""


def take_inventory(project: Project) -> PrivacyInventory:
    """Collect the personal data from the project's definitions and files.

    Raises:
        FeatureError: the definitions cannot be imported.
        DataError: ``dvc.lock``, a ``.dvc`` file or a data file cannot be read.
        ConfigError: ``tombstones.yaml`` cannot be read.
    """
    declared = declared_personal(project)
    applied = _applied(project)
    places = {place.name: place.path for place in find_places(project) if place.path}
    columns = {name: _columns(path) for name, path in places.items()} if declared else {}
    return PrivacyInventory(
        fields=tuple(
            FieldInventory(
                name=field.name,
                kind=field.kind,
                declared=field.declared,
                views=field.views,
                files=tuple(name for name, found in columns.items() if field.name in found),
                hidden=field.name in applied,
            )
            for field in declared
        ),
        key=key_source(project),
        tombstones=len(read_tombstones(project.root)),
        unfinished=len(pending_orders(project)),
        undeclared=_undeclared(places, {field.name for field in declared}),
    )


def _applied(project: Project) -> frozenset[str]:
    try:
        return hidden_fields(project)
    except TidemillError:  # no definitions were applied yet
        return frozenset()


def _undeclared(places: Mapping[str, Path], declared: Collection[str]) -> tuple[UndeclaredField, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for name, place in places.items():
        for path, _ in files_below(place)[:1]:
            sample = _sample(path)
            for column in sample.columns:
                if column not in declared and (kind := looks_personal(column, sample[column])):
                    found.setdefault((column, kind), []).append(name)
    return tuple(UndeclaredField(*what, tuple(files)) for what, files in sorted(found.items()))


def _sample(path: Path) -> pl.DataFrame:
    """Return some rows of a file; none of one that cannot be read."""
    try:
        match format_of(path):
            case "parquet":
                return pl.scan_parquet(path, glob=False).head(_SAMPLED).collect()
            case "arrow":
                return pl.scan_ipc(path, glob=False).head(_SAMPLED).collect()
            case "csv":
                mark = separator_of(path)
                return pl.read_csv(
                    path, n_rows=_SAMPLED, infer_schema=False, separator=mark, truncate_ragged_lines=True
                )
            case "ndjson":
                with path.open("rb") as lines:
                    return pl.read_ndjson(b"".join(islice(lines, _SAMPLED)))
            case _:
                return pl.DataFrame()
    except (OSError, PolarsError):  # not in the format of its extension
        return pl.DataFrame()


def _columns(place: Path) -> frozenset[str]:
    found: set[str] = set()
    for path, constants in files_below(place):
        found |= {*constants, *_columns_of(path)}
    return frozenset(found)


def _columns_of(path: Path) -> list[str]:
    try:
        match format_of(path):
            case "parquet":
                return list(pq.read_schema(path).names)
            case "arrow":
                with pa.memory_map(str(path)) as file:
                    return list(pa.ipc.open_file(file).schema.names)
            case "csv":
                with path.open(newline="", encoding="utf-8") as text:
                    return next(csv.reader(text), [])
            case "ndjson":
                with path.open("rb") as lines:
                    return list(orjson.loads(lines.readline() or b"{}"))
            case _:
                return []
    except (OSError, ValueError, pa.ArrowException):  # not in the format of its extension
        return []
