"""Cuts the prepared rows of a fit into files, one for each worker, and reads the part of one worker.

Row ``i`` lies in file ``i % files``: neighbours in time go to different workers, so their shards are alike.
Where there are fewer workers than files, each reads several. Arrays are as NumPy writes them: a worker maps
its own part into memory, or has it streamed by Ray Data where that is large, and reads no other's.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.training.distributed import Prepared, Shard
from tidemill.training.fitting.row_pieces import pieces_of

__all__ = ["STREAMED_FROM", "read_shard", "write_shards"]

STREAMED_FROM = 64 << 20
"""Bytes of features in a file, from which on Ray Data streams it; it takes seconds to begin."""
_FACTS = "facts.json"
_PIECE = 4 << 20
"""Bytes that are read at once."""


def write_shards(folder: Path, prepared: Prepared, files: int) -> None:
    """Write rows to ``files`` pairs of files in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        np.save(folder / f"values-{number}.npy", prepared.values[number::files])
        np.save(folder / f"target-{number}.npy", prepared.target[number::files])
    facts = {
        "files": files,
        "rows": len(prepared.target),
        "facts": dict(prepared.facts),
        "streamed": prepared.values.nbytes >= STREAMED_FROM * files,
    }
    (folder / _FACTS).write_text(json.dumps(facts))


def read_shard(folder: Path, rank: int, workers: int, network: Mapping[str, Any]) -> Shard:
    """Return the rows of one of several workers.

    >>> from tempfile import TemporaryDirectory
    >>> rows = Prepared(np.arange(14.0).reshape(7, 2), np.arange(7), lambda model: model)
    >>> with TemporaryDirectory() as name:
    ...     write_shards(Path(name), rows, files=3)
    ...     [read_shard(Path(name), rank, 2, {}).places.tolist() for rank in range(2)]
    [[0, 3, 6, 2, 5], [1, 4]]
    """
    known = json.loads((folder / _FACTS).read_text())
    mine = range(rank, known["files"], workers)
    names = [str(folder / f"values-{number}.npy") for number in mine]
    files = [np.load(name, mmap_mode="r") for name in names]
    most = max(1, _PIECE // max(1, files[0][:1].nbytes))
    if known["streamed"]:
        from tidemill.training.fitting.streamed_rows import streamed_pieces

        read = partial(streamed_pieces, names, most)
    else:
        read = partial(pieces_of, files, most)
    return Shard(
        target=_joined([np.load(folder / f"target-{number}.npy", mmap_mode="r") for number in mine]),
        places=np.concatenate([np.arange(number, known["rows"], known["files"]) for number in mine]),
        rows=known["rows"],
        facts=known["facts"],
        network=network,
        files=files,
        read=read,
    )


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
