"""The writing end of the log: kills, full disks, flushes."""

import contextlib
import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from tests.tidemill.prediction_log.log_records import ALWAYS, NOON, label, record
from tidemill.errors import ServingError
from tidemill.prediction_log.prediction_log import PredictionLog, count_log, read_predictions
from tidemill.prediction_log.storage import segments
from tidemill.prediction_log.storage.segments import SegmentLimits

WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.tidemill.prediction_log.log_records import NOON, record
from tidemill.prediction_log.prediction_log import PredictionLog
log = PredictionLog(Path(sys.argv[1]), "m")
for number in range(10**9):
    assert log.append([record(f"{number}{part}", NOON + timedelta(days=number % 2)) for part in "ab"])
    print(number, flush=True)
"""


def ids(root: Path) -> list[str]:
    return read_predictions(root, "m", *ALWAYS)["prediction_id"].to_list()


def until(true, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def test_what_append_returned_for_survives_a_kill(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    acknowledged = [process.stdout.readline() for _ in range(200)]
    process.kill()
    acknowledged += process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    numbers = [line.strip() for line in acknowledged if line.strip()]
    assert len(numbers) >= 200
    assert {f"{number}{part}" for number in numbers for part in "ab"} <= set(ids(tmp_path))


@contextlib.contextmanager
def limited_files(size: int):
    """A limit on file sizes makes write() fall short just as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a tmpfs, which takes root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_predictions_wait_for_a_full_disk_and_keep_their_order(small_disk):
    log = PredictionLog(small_disk, "m", sync_seconds=0.01, backlog_bytes=30_000)
    assert log.append([record("before")])
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    names = [f"{number:05}" for number in range(200)]
    stored = [log.append([record(name)]) for name in names]
    health = log.health()
    assert not health.ok
    assert "space" in health.error
    assert 0 < health.waiting_bytes <= 30_000
    assert health.lost == stored.count(False) - health.waiting > 0
    with pytest.raises(ServingError, match="labels cannot be written"):
        log.append_labels([label("before", 1)] * 1000)
    filling.unlink()
    until(lambda: log.health().ok)
    assert log.append([record("after", NOON + timedelta(days=1))])
    log.close()
    kept = [name for name, there in zip(names, stored, strict=True) if there]
    waited = [name for name, there in zip(names, stored, strict=True) if not there][: health.waiting]
    assert kept + waited == sorted(kept + waited)
    segments_made = sorted(small_disk.rglob("*.ndjson"), key=lambda path: path.name)
    lines = [orjson.loads(line) for path in segments_made for line in path.read_bytes().splitlines()]
    assert [line["prediction_id"] for line in lines] == ["before", *kept, *waited, "after"]
    assert set(ids(small_disk)) == {"before", *kept, *waited, "after"}
    assert log.health().lost == health.lost
    counts = count_log(small_disk, "m")
    assert (counts.torn, counts.labels) == (0, 0)


def test_nothing_torn_is_left_where_a_write_fell_short(tmp_path):
    log = PredictionLog(tmp_path, "m", sync_seconds=0)
    assert log.waits
    assert log.append([record("kept")])
    [segment] = tmp_path.rglob("*.ndjson")
    with limited_files(segment.stat().st_size + 100):
        assert not log.append([record("waits")])
        assert segment.read_bytes().count(b"\n") == 1
        assert segment.read_bytes().endswith(b"\n")
    until(lambda: log.health().ok)
    assert log.append([record("after")])
    assert ids(tmp_path) == ["after", "kept", "waits"]
    assert count_log(tmp_path, "m").torn == 0


def test_closing_on_a_broken_disk_says_what_is_lost(tmp_path, caplog):
    log = PredictionLog(tmp_path, "m", sync_seconds=60)
    (tmp_path / "m").write_text("a file where the folder should be")
    assert not log.append([record("lost")])
    log.close()
    assert log.health().lost == 1
    assert "1 prediction could not be written and is lost" in caplog.text


def test_a_thread_flushes_and_none_waits_for_it(tmp_path, monkeypatch):
    flushed, slow = [], threading.Event()

    def fdatasync(descriptor: int) -> None:
        slow.wait(10)
        flushed.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(segments.os, "fdatasync", fdatasync)
    log = PredictionLog(tmp_path, "m", sync_seconds=0.01)
    for number in range(50):
        log.append([record(str(number))])
    assert not flushed
    slow.set()
    size = next(tmp_path.rglob("*.ndjson")).stat().st_size
    until(lambda: flushed and flushed[-1] == size)


def test_with_no_pause_it_is_on_the_disk_before_the_answer_or_said_not_to_be(tmp_path, monkeypatch):
    log = PredictionLog(tmp_path, "m", sync_seconds=0)
    flushed = []
    monkeypatch.setattr(segments.os, "fdatasync", lambda file: flushed.append(os.fstat(file).st_ino))
    assert log.append([record("a")])
    assert next(tmp_path.rglob("*.ndjson")).stat().st_ino in flushed

    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(segments.os, "fdatasync", broken)
    assert not log.append([record("b")])
    assert "Input/output" in log.health().error


def test_segments_end_when_they_are_large_old_idle_or_many(tmp_path):
    log = PredictionLog(tmp_path, "m", sync_seconds=0.01, rolling=SegmentLimits(bytes=1000, open=2))
    for number in range(6):
        log.append([record(str(number), NOON + timedelta(days=number % 3))])
    until(lambda: len(list(tmp_path.rglob("*.ndjson"))) >= 3)
    log.append([record(f"more {number}") for number in range(10)])
    log.append([record("next")])
    assert len(list((tmp_path / "m/predictions/date=2013-04-01").glob("*.ndjson"))) >= 2
    idle = PredictionLog(tmp_path / "idle", "m", sync_seconds=0.01, rolling=SegmentLimits(idle=0.05))
    idle.append([record("a")])
    [segment] = (tmp_path / "idle").rglob("*.ndjson")
    time.sleep(0.1)
    idle.append_labels([label("a", 1)])  # wakes the thread

    def ended() -> bool:
        with segment.open("rb") as file:
            return segments.lock_segment(file.fileno())

    until(ended)


def test_records_of_many_dates_in_any_order_are_one_write_a_date(tmp_path):
    log = PredictionLog(tmp_path, "m", sync_seconds=60)
    days = [NOON + timedelta(days=number % 20) for number in range(400)]
    assert log.append([record(f"p{number}", at) for number, at in enumerate(days)])
    log.append_labels([label(f"p{number}", 1, at) for number, at in enumerate(days)])
    assert len(list(tmp_path.rglob("*.ndjson"))) == 40
    assert len(ids(tmp_path)) == 400
    log.close()


@pytest.mark.slow
def test_writes_to_ever_new_dates_keep_few_files_open(tmp_path):
    log = PredictionLog(tmp_path, "m", sync_seconds=60)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(300):
        assert log.append([record(f"p{number}", NOON + timedelta(days=number))])
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 100
    assert len(ids(tmp_path)) == 300
    log.close()


@pytest.mark.slow
def test_a_log_that_nobody_holds_lets_go_of_its_files(tmp_path):
    log = PredictionLog(tmp_path, "m")
    log.append([record("a")])
    [segment] = tmp_path.rglob("*.ndjson")
    with segment.open("rb") as file:
        assert not segments.lock_segment(file.fileno())
    del log
    gc.collect()

    def let_go() -> bool:
        with segment.open("rb") as file:
            return segments.lock_segment(file.fileno())

    until(let_go)
