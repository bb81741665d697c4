"""Parquet files behind `feast.FileSource`: read lazily, written whole or not at all."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource

from tidemill.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["append", "scan", "source_path", "write"]


def source_path(source: DataSource, repo: Path | None) -> Path:
    """Return where ``source`` lies; a relative path counts from the feature repository.

    Raises:
        FeatureError: it is no local parquet.
    """
    if not isinstance(source, FileSource):
        raise FeatureError(
            f"source {source.name!r} is a {type(source).__name__}",
            hint="this offline store reads feast.FileSource parquet",
        )
    if "://" in source.path or not isinstance(source.file_format, ParquetFormat | None):
        raise FeatureError(
            f"source {source.name!r} ({source.path}) is not local parquet",
            hint="give it the path of a parquet file",
        )
    return Path(FileSource.get_uri_for_file_path(repo, source.path))


def scan(source: DataSource, repo: Path | None) -> pl.LazyFrame:
    """Return the rows of ``source`` without reading them yet.

    Raises:
        FeatureError: there is no such file, or it is no parquet.
    """
    path = source_path(source, repo)
    if not path.exists():
        raise FeatureError(
            f"source {source.name!r}: {path} does not exist",
            hint="make it first, for example with `dvc repro`",
        )
    try:
        rows = pl.scan_parquet(path / "**/*.parquet" if path.is_dir() else path)
        rows.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FeatureError(f"source {source.name!r}: {path} is no readable parquet: {error}") from error
    return rows


def write(table: pa.Table, path: Path) -> None:
    """Write ``table`` to the parquet file ``path``, replacing it in one step.

    Raises:
        FeatureError: it cannot be written; what was there before is untouched.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, draft)
        draft.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise FeatureError(f"{path} cannot be written: {error}") from error
    finally:
        draft.unlink(missing_ok=True)


def append(table: pa.Table, source: DataSource, repo: Path | None) -> None:
    """Add the rows of ``table`` to ``source``: to its file, or as a further file of its folder.

    Raises:
        FeatureError: the columns are not those of the source.
    """
    path = source_path(source, repo)
    if not path.exists():
        write(table, path)
        return
    present = pyarrow.parquet.read_schema(path if path.is_file() else min(path.glob("**/*.parquet")))
    table = _like(table, present, path)
    if path.is_dir():
        write(table, path / f"{uuid.uuid4().hex}.parquet")
    else:
        write(pa.concat_tables([pyarrow.parquet.read_table(path), table]), path)


def _like(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    names: Sequence[str] = schema.names
    if set(table.column_names) != set(names):
        raise FeatureError(
            f"rows for {path} have the columns {', '.join(table.column_names)}",
            hint=f"it has {', '.join(names)}",
        )
    try:
        return table.select(names).cast(schema)
    except pa.ArrowException as error:
        raise FeatureError(f"rows for {path} are of other types than it: {error}") from error
