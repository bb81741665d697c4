"""Write the parts of the prediction log: parquet made of log lines, sorted and compressed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tidemill.ids import new_id
from tidemill.prediction_log.storage.log_places import Place
from tidemill.prediction_log.storage.log_schema import COLUMNS, stacked, with_types
from tidemill.prediction_log.storage.manifests import Kind, Part
from tidemill.prediction_log.storage.ndjson_reader import parse_lines
from tidemill.prediction_log.storage.part_sketches import put_sketch

__all__ = ["Sizes", "read_in_pieces", "write_part"]

_SORTED_BY = {"predictions": ("at", "prediction_id"), "labels": ("at", "received_at")}


@dataclass(frozen=True)
class Sizes:
    """Limits of memory, and thresholds for writing and merging parts."""

    rows: int = 250_000
    """Of a part, at most."""
    row_group: int = 50_000
    """Rows whose least and greatest moments are known without reading them."""
    piece: int = 16 << 20
    """Bytes of a segment that are parsed at once."""
    group: int = 192 << 20
    """Bytes of the segments that are made into parts at once."""
    settled_bytes: int = 32 << 20
    """Segments of a date wait until they are this many bytes together …"""
    settled_seconds: float = 900.0
    """… or one of them was written to this long ago."""
    merge: int = 8
    """Small parts of a date that are merged into one."""
    sketched: int = 5_000
    """Rows from which on a part has a sketch: fewer are read as quickly as theirs."""

    def all_of_it(self) -> "Sizes":
        """Return sizes with which every segment is compacted and any two small parts are merged."""
        return replace(self, settled_bytes=0, settled_seconds=0.0, merge=2)


def write_part(
    frame: pl.DataFrame,
    kind: Kind,
    place: Place,
    below: str,
    root: Path,
    owner: str,
    sizes: Sizes | None = None,
) -> Part:
    """Write rows as a sorted part, and a sketch of many predictions; readers see it once a manifest names it.

    Args:
        frame: at least one row, as `tidemill.prediction_log.storage.log_schema.with_types` gives them.
        kind: of which they are.
        place: where it goes.
        below: name of the date's folder at that place.
        root: the folder of the log, where it is drafted.
        owner: id of the log's folder whose manifest will name it.
        sizes: of its row groups.
    """
    name = f"part-{owner}-{new_id('p')}.parquet"
    draft = root / below / f".{name}"
    draft.parent.mkdir(parents=True, exist_ok=True)
    frame = frame.sort(_SORTED_BY[kind], maintain_order=True)
    try:
        frame.write_parquet(
            draft, compression="zstd", row_group_size=(sizes or Sizes()).row_group, statistics=True
        )
        size = place.put(draft, f"{below}/{name}")
        if kind == "predictions" and frame.height >= (sizes or Sizes()).sketched:
            put_sketch(frame, place, f"{below}/{name}")
    finally:
        draft.unlink(missing_ok=True)
    moments, ids = frame["at"], frame["prediction_id"].drop_nulls()
    least, greatest = ids.min(), ids.max()
    return Part(name, frame.height, size, moments[0], moments[-1], least, greatest)  # type: ignore[arg-type]


def read_in_pieces(segments: Iterable[Path], kind: Kind, sizes: Sizes) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yield the lines of segments, about ``sizes.rows`` at a time, and the number of torn lines skipped."""
    held, rows, torn = list[pl.DataFrame](), 0, 0
    for path in segments:
        for piece in _pieces(path, sizes.piece):
            lines = parse_lines(piece, COLUMNS[kind])
            torn += lines.torn
            held.append(with_types(lines.frame, kind))
            rows += lines.frame.height
            if rows >= sizes.rows:
                yield stacked(held), torn
                held, rows, torn = [], 0, 0
    if held:
        yield stacked(held), torn


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield whole lines, about ``size`` bytes at a time; the last one may lack its end."""
    rest = b""
    with path.open("rb") as segment:
        while chunk := segment.read(size):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                yield lines + newline
    if rest:
        yield rest
