"""Write parquet atomically: save results, and append rows to a source."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists

from tidemill.data.tables.column_names import literal_names
from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import Address, locate, reaching
from tidemill.features.offline.conforming import conform
from tidemill.features.offline.file_publishing import ROW_GROUP, all_or_none, alone, cannot_write, write_file
from tidemill.features.offline.parquet_sources import partition_of, read_schema
from tidemill.files.atomic import replacing_folder

__all__ = ["DatasetExists", "add_files", "append", "save"]

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


class DatasetExists(FeatureError, SavedDatasetLocationAlreadyExists):  # type: ignore[misc]
    """The place for a result is taken; also an instance of Feast's own error for this case."""

    def __init__(self, location: str) -> None:
        # Feast's class, which comes after ours, makes a sentence of the location
        FeatureError.__init__(self, location, hint="choose another path or pass allow_overwrite=True")


def save(batches: Iterable[pa.Table], address: Address, *, overwrite: bool) -> list[str]:
    """Write ``batches`` to one file or, if the address does not end in ``.parquet``, a folder of files.

    Existing files are replaced once everything is written, and stay untouched if anything fails before.

    Returns:
        The paths or addresses of the files.

    Raises:
        DatasetExists: the place is taken, and ``overwrite`` is off.
        FeatureError: it cannot be written.
    """
    exists = address.exists()
    if exists and not overwrite:
        raise DatasetExists(address.text)
    if address.names_a_file or (exists and not address.is_folder()):
        with all_or_none(address) as draft_of:
            write_file(batches, draft_of(address.path))
        return [address.address_of(address.path)]
    return _save_folder(batches, address)


def append(table: pa.Table, source: DataSource, repo: Path | str | None) -> None:
    """Add the rows of ``table`` to ``source``: to its file, or as further files of its folder.

    A file is copied with the rows behind the old ones and then replaced, by one process at a time. A folder
    gets one new file, a partitioned data set one in each partition that the rows are of.

    Raises:
        FeatureError: the columns are not those of the source, or it cannot be written.
    """
    address = locate(source, repo)
    what = f"source {source.name!r} ({address.text})"
    if address.is_pattern:
        address = _folder_of(address, what)
    if address.is_folder():
        files = [file.path for file in address.list_files()]
        keys = tuple(partition_of(files[0], address.root)) if files else ()
        fields = _union([read_schema(address, path) for path in files])
        table = _source_names(table, source, [*fields, *keys])
        add_files(conform(table, fields, keys, what), address, keys)
    elif address.exists():
        with alone(address):
            _grow(table, address, source, what)
    elif address.names_a_file:
        with all_or_none(address) as draft_of:
            write_file([_source_names(table, source, ())], draft_of(address.path))
    else:
        add_files(_source_names(table, source, ()), address, ())


def add_files(table: pa.Table, address: Address, keys: Sequence[str]) -> list[str]:
    """Add ``table`` to a folder: one new file, or one for each value of the partition columns ``keys``.

    All of them are written before the first one becomes visible.

    Returns:
        Their paths.

    Raises:
        FeatureError: it cannot be written.
    """
    name = f"{uuid.uuid4().hex}.parquet"
    parts = {f"{address.path}/{folder}{name}": part for folder, part in _partitions(table, keys)}
    with all_or_none(address) as draft_of:
        for path, part in parts.items():
            write_file([part], draft_of(path))
    return list(parts)


def _grow(table: pa.Table, address: Address, source: DataSource, what: str) -> None:
    before = address.list_files()
    schema = read_schema(address, address.path)
    table = _source_names(table, source, schema.names)
    table = conform(table, {field.name: field for field in schema}, (), what)
    with all_or_none(address) as draft_of:
        with reaching(address):
            file = address.files.open(address.path, "rb")
        with file:
            old = pyarrow.parquet.ParquetFile(file)
            write_file(
                _regrouped(old, table.replace_schema_metadata(schema.metadata)), draft_of(address.path)
            )
        if address.list_files() != before:
            raise FeatureError(
                f"{what} changed while rows were added to it; nothing was added",
                hint="run it again. A folder of files can be added to at any time",
            )


def _regrouped(old: pyarrow.parquet.ParquetFile, table: pa.Table) -> Iterator[pa.Table]:
    """Yield all rows in tables of a useful size, so that many small appends do not make many row groups."""
    waiting: list[pa.Table] = []
    for index in range(old.num_row_groups + 1):
        part = old.read_row_group(index) if index < old.num_row_groups else table
        if waiting and sum(one.num_rows for one in waiting) + part.num_rows > ROW_GROUP:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(part)
    yield pa.concat_tables(waiting)


def _save_folder(batches: Iterable[pa.Table], address: Address) -> list[str]:
    """Write a new folder of files; a local one is made beside the old one and takes its place."""
    if address.is_local:
        target = Path(address.path)
        try:
            with replacing_folder(target) as draft:
                names = [path.name for path in _write_parts(batches, draft)]
        except OSError as error:
            raise cannot_write(address.text, error) from error
        return [str(target / name) for name in names]
    old = [file.path for file in address.list_files()]
    new = f"{address.path}/{uuid.uuid4().hex}"
    paths = []
    with all_or_none(address) as draft_of:
        for index, batch in enumerate(batches):
            paths.append(f"{new}-{index:05}.parquet")
            write_file([batch], draft_of(paths[-1]))
    with reaching(address):
        for path in old:
            address.files.rm_file(path)
    return [address.address_of(path) for path in paths]


def _write_parts(batches: Iterable[pa.Table], folder: Path) -> list[Path]:
    paths = []
    for index, batch in enumerate(batches):
        paths.append(folder / f"part-{index:05}.parquet")
        write_file([batch], paths[-1])
    return paths


def _partitions(table: pa.Table, keys: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield the folder (``key=value/``) and the rows of each partition."""
    absent = [key for key in keys if key not in table.column_names]
    if absent:
        raise FeatureError(
            f"there is no column {', '.join(map(repr, absent))} to partition by",
            hint=f"there are: {', '.join(table.column_names)}",
        )
    if not keys:
        yield "", table
        return
    rows = pl.from_arrow(table.select(list(keys))).with_row_index("__row")  # type: ignore[union-attr]
    for values, part in rows.group_by(literal_names(keys), maintain_order=True):
        names = [f"{key}={_folder_name(value)}" for key, value in zip(keys, values, strict=True)]
        yield "/".join(names) + "/", table.take(part["__row"].to_arrow()).drop_columns(list(keys))


def _folder_name(value: object) -> str:
    return _NO_VALUE if value is None else quote(str(value), safe=" ")


def _folder_of(address: Address, what: str) -> Address:
    """Return the folder that new files of a pattern belong to."""
    wild = address.path[len(address.root) :].strip("/")
    if wild not in ("*.parquet", "**/*.parquet", "*", "**/*", "**"):
        raise FeatureError(
            f"{what}: rows cannot be added to a pattern that does not say where new files belong",
            hint="name a folder, or a pattern that ends in /*.parquet",
        )
    return Address(address.text, address.root, address.files, address.cloud)


def _source_names(table: pa.Table, source: DataSource, there: Sequence[str]) -> pa.Table:
    """Restore the source's column names: Feast maps them, and pandas adds an index."""
    index = [name for name in table.column_names if name.startswith("__index_level_") and name not in there]
    table = table.drop_columns(index)
    back = {new: old for old, new in (source.field_mapping or {}).items() if new not in there}
    return table.rename_columns([back.get(name, name) for name in table.column_names])


def _union(schemas: Sequence[pa.Schema]) -> dict[str, pa.Field]:
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, field)
    return fields
