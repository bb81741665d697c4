"""Write served features to parquet: Feast's feature logging."""

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.file_source import FileLoggingDestination

from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import locate
from tidemill.features.offline.parquet_writing import add_files

__all__ = ["write_logs"]


def write_logs(
    data: pa.Table | Path, source: LoggingSource, logging_config: LoggingConfig, repo: Path | str | None
) -> None:
    """Add logs to the destination's folder, as new files in the partitions that it declares.

    Args:
        data: Rows, or a parquet file or folder with them.
        source: Names the column with the moment of the log.
        logging_config: Names the destination.
        repo: The folder that a relative destination starts at.

    Raises:
        FeatureError: the destination is not a folder for parquet, the logs cannot be read, or lack a column.
    """
    destination = logging_config.destination
    if not isinstance(destination, FileLoggingDestination):
        raise FeatureError(
            f"logs cannot go to a {type(destination).__name__}",
            hint="this offline store logs to a feast FileLoggingDestination, a folder of parquet files",
        )
    table = data if isinstance(data, pa.Table) else _read(Path(data))
    column = source.get_log_timestamp_column()
    if column not in table.column_names:
        raise FeatureError(
            f"logs for {destination.path} have no column {column!r} with their moment",
            hint=f"there are: {', '.join(table.column_names)}",
        )
    add_files(table, locate(destination.to_data_source(), repo), destination.partition_by or ())


def _read(path: Path) -> pa.Table:
    try:
        return pyarrow.dataset.dataset(path, format="parquet").to_table()
    except (OSError, pa.ArrowException) as error:
        raise FeatureError(
            f"the logs in {path} cannot be read: {error}",
            hint="check that the folder can be read and holds parquet files only",
        ) from error
