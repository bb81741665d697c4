"""Writes source files, local or remote: all that belong together appear, or none."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from tidemill.errors import FeatureError
from tidemill.features.offline.addresses import Address, reaching
from tidemill.files.atomic import move_into_place
from tidemill.files.drafts import discard_draft, new_draft
from tidemill.files.locks import locked

__all__ = ["ROW_GROUP", "all_or_none", "alone", "cannot_write", "write_file"]

ROW_GROUP = 1_000_000


@contextmanager
def all_or_none(address: Address) -> Iterator[Callable[[str], Path]]:
    """Yield a function that returns a local draft for a path; all drafts are published, or none.

    Raises:
        FeatureError: something cannot be written; what was there before is untouched.
    """
    drafts: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="tidemill-") as scratch:

        def draft_of(path: str) -> Path:
            target = Path(path)
            if address.is_local:
                target.parent.mkdir(parents=True, exist_ok=True)
                drafts[path] = new_draft(target)
            else:
                drafts[path] = Path(scratch) / str(len(drafts))
            return drafts[path]

        try:
            yield draft_of
            _publish(drafts, address)
        except (OSError, pa.ArrowException) as error:
            raise cannot_write(address.text, error) from error
        finally:
            for draft in drafts.values():
                discard_draft(draft)


@contextmanager
def alone(address: Address) -> Iterator[None]:
    """Lock a local folder, so that only one process at a time changes its files."""
    if not address.is_local:
        yield
        return
    with locked(Path(address.path).parent, wait_seconds=None):
        yield


def write_file(batches: Iterable[pa.Table], path: Path) -> None:
    """Write one parquet file and sync it to the disk."""
    writer: pyarrow.parquet.ParquetWriter | None = None
    with path.open("wb") as file:
        for batch in batches:
            writer = writer or pyarrow.parquet.ParquetWriter(file, batch.schema)
            writer.write_table(batch.cast(writer.schema), row_group_size=ROW_GROUP)
        if writer is not None:
            writer.close()
        file.flush()
        os.fsync(file.fileno())


def _publish(drafts: Mapping[str, Path], address: Address) -> None:
    done: list[str] = []
    try:
        for path, draft in drafts.items():
            if address.is_local:
                move_into_place(draft, Path(path), flush=False)  # `write_file` has
            else:
                with reaching(address):
                    address.files.makedirs(path.rpartition("/")[0], exist_ok=True)
                    address.files.put_file(str(draft), path)
            done.append(path)
    except (OSError, FeatureError):
        if len(drafts) > 1:  # several are always new
            for path in done:
                address.files.rm_file(path)
        raise


def cannot_write(where: str, error: Exception) -> FeatureError:
    """Return the error to raise when the disk or the remote refused a write."""
    return FeatureError(
        f"{where} cannot be written: {error}",
        hint="nothing was changed; check the free space and the permissions",
    )
