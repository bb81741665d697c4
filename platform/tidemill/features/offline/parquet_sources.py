"""Read the parquet of a `feast.FileSource` lazily: a file, a folder, a pattern or a partitioned data set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
from feast.data_source import DataSource

from tidemill.data.tables.column_names import literal_name, literal_names
from tidemill.data.tables.time_zones import scan_in_utc
from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import Address, File, locate, reaching

__all__ = ["Reading", "open_source", "partition_of", "read_schema", "scan"]

_DEFAULT = "__HIVE_DEFAULT_PARTITION__"
_THREADS = 16
_UNITS = ("ns", "us", "ms")


@dataclass(frozen=True)
class Reading:
    """A source as it was opened: its files, and their rows as a lazy frame."""

    name: str
    """Of the source."""
    address: Address
    files: tuple[File, ...]
    rows: pl.LazyFrame

    @property
    def where(self) -> str:
        """The source and its place, for messages."""
        return f"source {self.name!r} ({self.address.text})"

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise if a file is replaced, changed or removed inside the block; new files are allowed.

        Raises:
            FeatureError: a file changed, so the rows may mix two states of the source.
        """
        try:
            yield
        except FeatureError as error:
            self._check(error)
            raise
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
            self._check(error)
            raise FeatureError(
                f"{self.where} cannot be read: {error}",
                hint="check that the files are there, complete and readable",
            ) from error
        self._check(None)

    def _check(self, cause: BaseException | None) -> None:
        now = {file.path: file for file in self.address.list_files()}
        changed = [file.path for file in self.files if now.get(file.path) != file]
        if changed:
            raise FeatureError(
                f"{self.where} changed while it was read: {', '.join(changed[:3])}",
                hint="run it again when nothing writes to it; write new files beside the old ones instead",
            ) from cause


def open_source(source: DataSource, repo: Path | str | None) -> Reading:
    """Find the files of ``source`` and their columns, without reading rows.

    Files may differ: columns that some lack are null there, numbers become the wider type, naive timestamps
    are UTC. Folders called ``key=value`` become columns. Files that are written meanwhile do not count.

    Raises:
        FeatureError: there are no files, they are not parquet, or a column has incompatible types.
    """
    address = locate(source, repo)
    files = address.list_files()
    if not files:
        raise _nothing_there(source, address)
    schemas = _schemas(source, address, files)
    partitions = _partition_types(files, address)
    parts = []
    for (schema, keys), group in groupby(
        zip(files, schemas, strict=True),
        key=lambda pair: (_Columns(pair[1]), tuple(partition_of(pair[0].path, address.root))),
    ):
        parts.append(
            _rows(address, [file for file, _ in group], schema.schema, {k: partitions[k] for k in keys})
        )
    rows = parts[0] if len(parts) == 1 else _together(parts, f"source {source.name!r} ({address.text})")
    return Reading(source.name, address, files, rows)


def scan(source: DataSource, repo: Path | str | None) -> pl.LazyFrame:
    """Return the rows of ``source`` without reading them yet.

    Raises:
        FeatureError: as `open_source`.
    """
    return open_source(source, repo).rows


def read_schema(address: Address, path: str) -> pa.Schema:
    """Return the columns of one parquet file.

    Raises:
        FeatureError: it is not readable parquet.
    """
    try:
        with reaching(address), address.files.open(path, "rb") as file:
            return pyarrow.parquet.read_schema(file)
    except FeatureError as error:
        if isinstance(error.__cause__, pa.ArrowException):
            shown = path if address.is_local else address.address_of(path)
            raise FeatureError(
                f"{shown} is not readable parquet: {error.__cause__}",
                hint="write the file again, or remove it",
            ) from error.__cause__
        raise


def partition_of(path: str, root: str) -> dict[str, str | None]:
    """Return the partition values in the folder names between ``root`` and ``path``.

    >>> partition_of("/data/year=2013/month=1/0.parquet", "/data")
    {'year': '2013', 'month': '1'}
    """
    if not PurePosixPath(path).is_relative_to(root):
        return {}
    folders = PurePosixPath(path).relative_to(root).parts[:-1]
    pairs = [folder.partition("=") for folder in folders if "=" in folder]
    return {key: None if value == _DEFAULT else unquote(value) for key, _, value in pairs}


class _Columns:
    """A schema that is equal to another if names and types are."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Columns) and bool(self.schema.equals(other.schema))

    def __hash__(self) -> int:
        return hash(tuple(self.schema.names))


def _nothing_there(source: DataSource, address: Address) -> FeatureError:
    if not address.is_pattern and address.exists():
        return FeatureError(
            f"source {source.name!r}: {address.text} holds no parquet files",
            hint="files whose names begin with . or _ are ignored",
        )
    missing = "matches no file" if address.is_pattern else "does not exist"
    return FeatureError(
        f"source {source.name!r}: {address.text} {missing}",
        hint="make it first, for example with `dvc repro`",
    )


def _schemas(source: DataSource, address: Address, files: Sequence[File]) -> list[pa.Schema]:
    def one(file: File) -> pa.Schema:
        return read_schema(address, file.path)

    try:
        if address.is_local or len(files) == 1:
            return [one(file) for file in files]
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(one, files))
    except FeatureError as error:
        raise FeatureError(f"source {source.name!r}: {error}", hint=error.hint) from error.__cause__


def _partition_types(files: Sequence[File], address: Address) -> dict[str, pl.DataType]:
    """Return the type of each partition column: whole numbers or dates if all are, else text."""
    values: dict[str, set[str]] = {}
    for file in files:
        for key, value in partition_of(file.path, address.root).items():
            values.setdefault(key, set()).update([] if value is None else [value])
    return {key: _type_of(texts) for key, texts in values.items()}


def _type_of(texts: set[str]) -> pl.DataType:
    if texts and all(re.fullmatch(r"-?\d{1,18}", text) for text in texts):
        return pl.Int64()
    if texts and all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) for text in texts):
        return pl.Date()
    return pl.String()


def _rows(
    address: Address, files: Sequence[File], schema: pa.Schema, partitions: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    """Return the rows of files that have one schema."""
    names = [*(name for name in schema.names if name not in partitions), *partitions]
    if not address.is_local and address.cloud is None:
        opened = (partial(_by_pyarrow, address, file, partitions) for file in files)
        return pl.concat([scan_in_utc(one, [schema]) for one in opened]).select(literal_names(names))
    paths = [address.address_of(file.path) for file in files]
    above: dict[str, pl.DataType] = {}
    for path in paths:  # Polars reads key=value in all of the path
        above |= dict.fromkeys(partition_of(path, "/" if address.is_local else ""), pl.String())
    scan = partial(
        pl.scan_parquet,
        paths,
        glob=False,
        hive_partitioning=bool(partitions),
        hive_schema={**above, **partitions} if partitions else None,
        storage_options=dict(address.cloud) if address.cloud else None,
    )
    rows = scan_in_utc(scan, [schema])
    return rows.select(literal_names(names)) if partitions else rows


def _by_pyarrow(address: Address, file: File, partitions: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    filesystem = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(address.files))
    with reaching(address):
        data = pyarrow.dataset.dataset([file.path], filesystem=filesystem, format="parquet")
    values = partition_of(file.path, address.root)
    return pl.scan_pyarrow_dataset(data).with_columns(
        pl.lit(values[name]).cast(dtype).alias(name) for name, dtype in partitions.items()
    )


def _together(parts: Sequence[pl.LazyFrame], where: str) -> pl.LazyFrame:
    """Return the rows of all ``parts``, whose columns may differ."""
    schemas = [part.collect_schema() for part in parts]
    types: dict[str, pl.DataType] = {}
    for name in dict.fromkeys(name for schema in schemas for name in schema):
        types[name] = _common(name, [schema[name] for schema in schemas if name in schema], where)
    return pl.concat(
        part.select(
            _as(name, schema[name], dtype) if name in schema else pl.lit(None, dtype).alias(name)
            for name, dtype in types.items()
        )
        for part, schema in zip(parts, schemas, strict=True)
    )


def _common(name: str, types: Sequence[pl.DataType], where: str) -> pl.DataType:
    """Return the type that can hold all of ``types``."""
    distinct = list(dict.fromkeys(dtype for dtype in types if dtype != pl.Null))
    if len(distinct) <= 1:
        return distinct[0] if distinct else pl.Null()
    if all(dtype.is_integer() for dtype in distinct):
        return pl.UInt64() if all(dtype.is_unsigned_integer() for dtype in distinct) else pl.Int64()
    if all(dtype.is_numeric() for dtype in distinct):
        return pl.Float64()
    if all(dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum) for dtype in distinct):
        return pl.String()
    if all(isinstance(dtype, pl.Datetime | pl.Date) for dtype in distinct):
        units = [dtype.time_unit if isinstance(dtype, pl.Datetime) else "us" for dtype in distinct]
        aware = any(isinstance(dtype, pl.Datetime) and dtype.time_zone for dtype in distinct)
        return pl.Datetime(min(units, key=_UNITS.index), "UTC" if aware else None)
    if all(isinstance(dtype, pl.List) for dtype in distinct):
        inner = [_instance(dtype.inner) for dtype in distinct if isinstance(dtype, pl.List)]
        return pl.List(_common(name, inner, where))
    raise FeatureError(
        f"{where}: column {name!r} is {' and '.join(map(str, distinct))} in different files",
        hint="write all files of the source with the same types",
    )


def _as(name: str, have: pl.DataType, want: pl.DataType) -> pl.Expr:
    column = pl.col(literal_name(name))
    if isinstance(want, pl.Datetime) and want.time_zone:
        if not isinstance(have, pl.Datetime):
            column = column.cast(pl.Datetime(want.time_unit))
        if not getattr(have, "time_zone", None):
            column = column.dt.replace_time_zone("UTC")
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit(want.time_unit)
    return column if have == want else column.cast(want)


def _instance(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
