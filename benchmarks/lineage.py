"""Measures finding one prediction among many, against reading the log, and counting by version.

``python -m benchmarks.lineage 10000000`` writes a log of that many predictions (1.3 kB each, half of them
with a label) over 100 days and 2 replicas into a temporary folder, and takes it away again.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from benchmarks.children import clean_up_after
from tidemill.prediction_log.prediction_log import read_predictions
from tidemill.prediction_log.search.record_search import find_labels, find_prediction
from tidemill.prediction_log.search.version_totals import count_by_version

DAYS, REPLICAS, MODEL = 100, 2, "m"
START = date(2013, 1, 1)
BEGAN = 1_700_000_000_000
_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def identifier(prefix: str, milliseconds: int) -> str:
    """Return an id as `tidemill.ids.new_id` makes them, of a moment of our choice."""
    value = milliseconds << 80 | int.from_bytes(os.urandom(10))
    return f"{prefix}_" + "".join(_LETTERS[value >> shift & 31] for shift in range(125, -1, -5))


def write(root: Path, count: int, model: str = MODEL) -> list[str]:
    """Write the log of a model; return some of its ids."""
    rest = {
        "served_at": "2026-01-01T12:00:00.123456+00:00", "replica": "replica",
        "instance": {"carrier": "UA", "flight": 1, "tailnum": "N1", "origin": "EWR", "dest": "IAH"},
        "features": {f"feature_number_{n}": random.random() * 100 for n in range(26)},
        "score": 0.25, "decision": {"risk": "low"}, "flags": [], "test": False, "milliseconds": 1.25,
        "keys": {"carrier": "UA", "origin": "EWR", "dest": "IAH", "tailnum": "N1"},
    }  # fmt: skip
    tail, some = orjson.dumps(rest)[1:], []
    each = count // (DAYS * REPLICAS)
    for day in range(DAYS):
        at = datetime.combine(START + timedelta(days=day), datetime.min.time(), UTC).isoformat()
        for _ in range(REPLICAS):
            began = BEGAN + day * 86_400_000
            ids = [identifier("pred", began + n * 86_400_000 // each) for n in range(each)]
            head = f'","model":"{model}","version":"{1 + day // 10}","at":"{at}",'.encode()
            label = f'","label":1,"at":"{at}","received_at":"{at}"}}\n'.encode()
            name = f"date={START + timedelta(days=day)}/{identifier('w', began)}.ndjson"
            for kind, lines in (
                ("predictions", (b'{"prediction_id":"' + one.encode() + head + tail + b"\n" for one in ids)),
                ("labels", (b'{"prediction_id":"' + one.encode() + label for one in ids[::2])),
            ):
                path = root / model / kind / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb", 1 << 20) as segment:
                    segment.writelines(lines)
            some.append(random.choice(ids[::2]))
    return some


def timed(what: str, call: Callable[[], Any]) -> Any:
    """Print how long a call takes, and the most memory that the process has held so far."""
    began = time.perf_counter()
    found = call()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{what:<44}{time.perf_counter() - began:>10.3f} s{peak:>8.2f} GB")
    return found


def main() -> None:
    """Write the log, find, count, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where to write it (default: the temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        root = Path(folder)
        some = random.sample(write(root, options.predictions), 20)
        size = sum(path.stat().st_size for path in root.rglob("*.ndjson"))
        print(f"{options.predictions:,} predictions, {size / 1e9:.1f} GB")
        timed("20 predictions by id", lambda: [find_prediction(root, MODEL, one) for one in some])
        timed("their labels", lambda: [find_labels(root, MODEL, one) for one in some])
        absent = some[0][:-1] + ("0" if some[0][-1] != "0" else "1")
        timed("an id that is not there", lambda: find_prediction(root, MODEL, absent))
        timed("predictions and labels by version", lambda: count_by_version(root, MODEL))
        first = datetime.combine(START, datetime.min.time(), UTC)
        timed(
            "one day of it read into a frame",
            lambda: read_predictions(root, MODEL, first, first + timedelta(days=1)),
        )


if __name__ == "__main__":
    clean_up_after(main)
