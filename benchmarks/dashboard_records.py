"""Fills the records and the prediction log of a project as years of work would, for benchmarks."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lineage import write

if TYPE_CHECKING:
    from tidemill.project import Project

__all__ = ["MODEL", "fill"]

MODEL = "parcel-delay"
OTHERS = 4
"""Other models of the installation; each has a hundredth of the records."""
VERSIONS, DATA_VERSIONS = 200, 60
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PARAMS = f"""
project: {{name: parcels, model: {MODEL}}}
dataset: {{path: data/rows.parquet, label: late}}
features: {{from: request}}
"""
_MONITORS = ("weekly", "daily", "hourly")
_DRIFT = {
    "share": 0.2,
    "threshold": 0.3,
    "drifted": ["f0", "f1"],
    "columns": [
        {"name": f"f{n}", "value": 0.1 * n, "threshold": 0.5, "drifted": n > 4, "broken": None, "note": None}
        for n in range(29)
    ],
}
_RESULTS = json.dumps({"data_drift": _DRIFT, "findings": [{"kind": "data_drift", "message": "moved"}]})


def fill(folder: Path, scale: float) -> dict[str, int]:
    """Write a project and its records; return how many there are of each kind."""
    from tidemill.dashboard.installation import record_project
    from tidemill.files.sqlite_urls import sqlite_file
    from tidemill.project import load_project
    from tidemill.settings import Settings
    from tidemill.state import open_state
    from tidemill.state.tables import KnownProject

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    project = load_project(folder, Settings())
    state = open_state(project.state_url)
    record_project(state, project, NOW)
    with state.transaction() as session:
        for number in range(OTHERS):
            name = _other(number)
            session.add(KnownProject(model=name, name=name, root=str(folder / name), seen_at=NOW))
    state.close()
    counts: dict[str, int] = {}
    with closing(sqlite3.connect(str(sqlite_file(project.state_url)))) as database:
        database.execute("DROP TRIGGER audit_entries_insert")  # the chain is not what is measured
        for table, many, make in _TABLES:
            counts[table] = max(1, int(many * scale))
            _insert(database, table, counts[table], make)
    counts["prediction log"] = int(1_000_000 * scale)
    write(project.predictions, counts["prediction log"], MODEL)
    counts |= {"versions": _register(project), "data versions": _commit(folder)}
    return counts


def _register(project: "Project") -> int:
    """Register versions without files, the last one as champion; return how many."""
    from tidemill.training.tracking.mlflow_tracking import connect

    client = connect(project)
    client.create_registered_model(MODEL)
    for number in range(1, VERSIONS + 1):
        client.create_model_version(MODEL, f"file:///nowhere/{number}")
    client.set_registered_model_alias(MODEL, "champion", str(VERSIONS))
    return VERSIONS


def _commit(folder: Path) -> int:
    """Commit pointers to data whose content is nowhere; return how many versions."""
    from tidemill.data.repository.git import git

    git(folder, "init", "--quiet")
    git(folder, "config", "user.email", "benchmark@localhost")
    git(folder, "config", "user.name", "benchmark")
    (folder / ".dvc").mkdir()
    pointer = folder / "rows.parquet.dvc"
    for number in range(DATA_VERSIONS):
        pointer.write_text(f"outs: [{{md5: {number:032x}, size: 9, hash: md5, path: rows.parquet}}]\n")
        git(folder, "add", "--", pointer.name, "params.yaml")
        git(folder, "commit", "--quiet", "--message", f"Rows of day {number}")
    return DATA_VERSIONS


def _insert(
    database: sqlite3.Connection, table: str, total: int, make: Callable[[int, int], dict[str, Any]]
) -> None:
    columns = list(make(0, total))
    database.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        (tuple(make(n, total).values()) for n in range(total)),
    )
    database.commit()


def _other(number: int) -> str:
    return f"parcel-{number}"


def _model(n: int) -> str:
    return _other(n // 100 % OTHERS) if n % 100 < OTHERS and n % 100 == n // 100 % OTHERS else MODEL


def _at(n: int, total: int) -> str:
    """Return a moment as SQLite has it: the records are spread over two years."""
    return f"{NOW - timedelta(days=730) * (1 - n / total):%Y-%m-%d %H:%M:%S.%f}"


def _gate(n: int, total: int) -> dict[str, Any]:
    numbers = {"metric": "roc_auc", "gain": 0.01, "gain_interval": [0.0, 0.02], "rows": 9000, "min_gain": 0.0}
    numbers |= {"candidate": {"roc_auc": 0.7, "f1": 0.4}, "champion": {"roc_auc": 0.69, "f1": 0.39}}
    return {
        "id": f"gate_{n:07}",
        "model": _model(n),
        "candidate": str(n),
        "champion": str(n - 1),
        "mode": "enforce",
        "passed": n % 3 > 0,
        "reasons": json.dumps(["roc_auc 0.7 against 0.69", "9,000 rows"]),
        "numbers": json.dumps(numbers),
        "decided_at": _at(n, total),
    }


def _promotion(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"move_{n:07}",
        "model": _model(n),
        "alias": "champion",
        "from_version": str(n - 1),
        "to_version": str(n),
        "kind": "promotion",
        "status": "superseded" if n % 50 == 0 else "done",
        "actor": "ada",
        "reason": "it is better than the one before",
        "decision_id": None,
        "at": _at(n, total),
        "requested_at": _at(n, total),
    }


def _run(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"mon_{n:07}",
        "monitor": _MONITORS[n % 3],
        "model": _model(n),
        "version": str(n // 100),
        "window_start": _at(max(0, n - 1), total),
        "window_end": _at(n, total),
        "rows": 900,
        "labelled": 300,
        "verdict": "alert" if n % 10 == 0 else "ok",
        "results": json.dumps(
            {"data_drift": _DRIFT, "findings": [{"kind": "data_drift", "message": "moved"}]}
        ),
        "at": _at(n, total),
    }


def _alert(n: int, total: int) -> dict[str, Any]:
    is_open = n % 200 == 0
    return {
        "id": f"alert_{n:07}",
        "monitor": _MONITORS[n % 3],
        "model": _model(n),
        "version": str(n // 100),
        "kind": ("data_drift", "quality")[n % 2],
        "severity": ("warning", "critical")[n % 5 == 0],
        "message": "9 of 29 features have drifted (31%, alert at 30%): f0, f1, f2 and 6 more",
        "details": json.dumps({"features": ["f0", "f1"]}),
        "monitor_run_id": f"mon_{n:07}",
        "status": "firing" if is_open else "resolved",
        "raised_at": _at(n, total),
        "fired_at": _at(n, total),
        "last_seen_at": _at(n, total),
        "resolved_at": None if is_open else _at(n, total),
        "found_in": 1,
        "occurrence": 1,
    }


def _step(n: int, total: int) -> dict[str, Any]:
    what = "noise" if n % 5000 == 0 else "firing"
    return {
        "id": f"step_{n:07}",
        "alert_id": f"alert_{n:07}",
        "step": what,
        "at": _at(n, total),
        "person": "ada",
        "comment": None,
    }


def _message(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"note_{n:07}",
        "alert_id": f"alert_{n:07}",
        "model": _model(n),
        "occurrence": 1,
        "receiver": "pager",
        "step": "firing",
        "group_key": "",
        "status": "withheld" if n % 2 else "sent",
        "reason": "acknowledged by ada",
        "at": _at(n, total),
        "attempts": 1,
        "next_at": _at(n, total),
    }


def _silence(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"silence_{n:05}",
        "model": _model(n),
        "matchers": json.dumps({"kind": "data_*", "version": str(n)}),
        "author": "ada",
        "reason": "the feed moves",
        "starts_at": _at(n, total),
        "ends_at": f"{NOW + timedelta(days=9000):%Y-%m-%d %H:%M:%S.%f}" if n % 100 == 0 else _at(n, total),
    }


def _turn(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"turn_{n:07}",
        "model": _model(n),
        "trigger": "manual",
        "reason": "new rows",
        "actor": "ada",
        "promote": True,
        "overrides": "{}",
        "as_of": _at(n, total),
        "status": "promoted",
        "step": "end",
        "version": str(n),
        "seconds": json.dumps({"data": 16.8, "train": 26.5, "gate": 1.4}),
        "cpu_seconds": 22.6,
        "requested_at": _at(n, total),
        "finished_at": _at(n, total),
    }


def _rollout(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"roll_{n:07}",
        "model": _model(n),
        "version": str(n),
        "champion": str(n - 1),
        "plan": json.dumps({"steps": [{"share": 0.1, "minutes": 5, "requests": 100}]}),
        "status": "promoted",
        "step": 0,
        "baseline": "{}",
        "checks": "[]",
        "actor": "ada",
        "reason": "by steps",
        "outcome": "it is the champion",
        "at": _at(n, total),
        "stepped_at": _at(n, total),
        "requested_at": _at(n, total),
    }


def _word(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"decision_{n:07}",
        "model": _model(n),
        "policy": "keep-fresh",
        "verdict": "hold",
        "episode": str(n),
        "cause": "c",
        "cause_message": "features have drifted",
        "rule": "cooldown",
        "reason": "cooling down",
        "first_at": _at(n, total),
        "last_at": _at(n, total),
        "rounds": 3,
    }


def _job(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"job_{n:07}",
        "model": _model(n),
        "caller": "",
        "digest": "0" * 64,
        "status": "dead" if n % 500 == 0 else "done",
        "version": str(n),
        "at": _at(n, total),
        "test": False,
        "rows": 900,
        "rows_done": 900,
        "attempts": 1,
        "cancel_requested": False,
        "requested_at": _at(n, total),
        "due_at": _at(n, total),
        "finished_at": _at(n, total),
    }


def _slot(n: int, total: int) -> dict[str, Any]:
    return {
        "id": f"batch_{n:07}",
        "model": _model(n),
        "schedule": "nightly",
        "slot": _at(n, total),
        "status": "done",
        "tries": 1,
        "version": str(n),
        "rows": 900,
        "rejected": 0,
        "at": _at(n, total),
        "requested_at": _at(n, total),
        "finished_at": _at(n, total),
    }


def _entry(n: int, total: int) -> dict[str, Any]:
    return {
        "seq": n + 1,
        "version": 1,
        "at": _at(n, total),
        "actor": ("ada", "bob", "policy:keep-fresh")[n % 3],
        "actor_kind": "person",
        "model": None if n % 50 == 0 else _model(n),
        "action": ("acknowledge", "promote", "silence")[n % 3],
        "resource": "alert",
        "resource_id": f"alert_{n:07}",
        "details": "{}",
        "prev_hash": f"{n:064}",
        "hash": f"{n + 1:064}",
    }


_TABLES = (
    ("gate_decisions", 100_000, _gate),
    ("promotions", 1_000_000, _promotion),
    ("monitor_runs", 100_000, _run),
    ("alerts", 100_000, _alert),
    ("alert_steps", 100_000, _step),
    ("notifications", 100_000, _message),
    ("silences", 10_000, _silence),
    ("turns", 100_000, _turn),
    ("rollouts", 100_000, _rollout),
    ("policy_decisions", 100_000, _word),
    ("jobs", 100_000, _job),
    ("batch_runs", 100_000, _slot),
    ("audit_entries", 1_000_000, _entry),
)
