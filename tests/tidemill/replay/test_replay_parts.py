"""What a replay plays, copies and tells, without servers."""

import io
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import yaml
from rich.console import Console

from tests.tidemill.retraining.small_table import write_table_project
from tidemill.cli.loop import replaying
from tidemill.errors import ConfigError, TidemillError, UsageError
from tidemill.project import load_project
from tidemill.replay import replay_run
from tidemill.replay.replay_periods import periods
from tidemill.replay.replay_request import ReplayRequest
from tidemill.replay.replay_run import run_replay
from tidemill.replay.replay_summary import Facts, _held_back, period_table, render_summary
from tidemill.replay.replay_workspace import paths_elsewhere, project_files
from tidemill.replay.table_history import TableHistory
from tidemill.replay.traffic_replay import PlayedSpan, instances
from tidemill.state.tables import Alert, MonitorRun, Turn
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression

START = datetime(2024, 3, 1, 6, tzinfo=UTC)


def history(rows: int) -> TableHistory:
    """Return a row every hour, whose features are called like columns of the replay."""
    at = [START + timedelta(hours=hour) for hour in range(rows)]
    return TableHistory(
        pl.DataFrame(
            {
                "at": at,
                "instance": [{"label": float(hour), "at": "x", "gap": None} for hour in range(rows)],
                "label": [str(hour % 3) for hour in range(rows)],
                "label_at": [moment + timedelta(days=2) for moment in at],
            }
        )
    )


def test_a_day_gives_at_most_so_many_rows_the_same_each_time():
    table = history(72)
    played = table.requests(START, START + timedelta(days=2), 5, seed=1)
    assert played.height == 10
    assert played.equals(table.requests(START, START + timedelta(days=2), 5, seed=1))
    assert played["at"].is_sorted()
    assert set(played["at"].dt.offset_by("-6h").dt.day()) == {1, 2}
    assert table.requests(START, START + timedelta(days=3), 100, seed=1).height == 72
    assert instances(played.head(1)) == [played["instance"][0]]
    assert table.after(0.5) == START + timedelta(hours=35)


@pytest.mark.slow
def test_the_files_of_a_project_are_what_git_keeps_and_what_stages_read(tmp_path: Path):
    write_table_project(tmp_path / "wine")
    root = tmp_path / "wine"
    (root / ".gitignore").write_text(".tidemill/\n/data/\nwine.csv\n")
    subprocess.run(["git", "rm", "-q", "--cached", "wine.csv"], cwd=root, check=True)
    (root / "data" / "training_set.parquet").touch()
    (root / "new module.py").touch()
    found = project_files(root)
    assert {"params.yaml", "wine.csv", "new module.py", "monitoring/monitors.yaml"} <= set(found)
    assert not {"data/training_set.parquet", "dvc.lock", ".dvc/config"} & set(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sections", "wanted", "error", "said"),
    [
        ({}, ReplayRequest(), ConfigError, "dataset.time is null"),
        (
            {"dataset": {"time": "when"}},
            ReplayRequest(START, START - timedelta(days=1)),
            UsageError,
            "--to 2024-02-29 06:00 is not after --from 2024-03-01 06:00",
        ),
        (
            {"dataset": {"time": "when"}},
            ReplayRequest(labels_after="2d"),
            UsageError,
            "--labels-after: the project's own code says when labels are known",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_anything_is_written_or_engines_are_loaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sections: dict,
    wanted: ReplayRequest,
    error: type[TidemillError],
    said: str,
):
    write_table_project(tmp_path / "wine", **sections)
    with pytest.raises(error, match=said.replace("(", r"\(")):
        run_replay(tmp_path / "wine", tmp_path / "work", wanted, lambda *_: None)
    assert not (tmp_path / "work").exists()
    monkeypatch.setattr(replaying, "progress", lambda: pytest.fail("the engines are loaded first"))
    start, end = (str(at) if at else None for at in (wanted.start, wanted.end))
    with pytest.raises(error, match=said.replace("(", r"\(")):
        replaying.replay(tmp_path / "wine", start, end, labels_after=wanted.labels_after)


def log(moments: list[datetime], scores: list[float], targets: list[str], **columns: list) -> pl.DataFrame:
    """Return labelled predictions."""
    count = len(moments)
    return pl.DataFrame(
        {
            "at": moments,
            "version": ["1"] * count,
            "score": scores,
            "answer": pl.Series([None] * count, dtype=pl.String),
            "label": pl.Series([None] * count, dtype=pl.Int64),
            "target": targets,
        }
    ).with_columns(pl.Series(name, values) for name, values in columns.items())


def _run(end: datetime, drifted: list[str], kinds: list[str]) -> MonitorRun:
    results = {
        "data_drift": {"drifted": drifted, "columns": [{}, {}]},
        "findings": [{"kind": kind} for kind in kinds],
    }
    return MonitorRun(window_end=end, results=results)


def test_days_are_summed_up_with_the_metric_of_the_task():
    day = timedelta(days=1)
    spans = [PlayedSpan(START + day * n, START + day * (n + 1), sent=4, labels=n) for n in range(3)]
    answered = log([START, START + day, START + day * 1.5], [1.0, 2.0, 4.0], ["3.0", "2.5", "3.5"])
    found = periods(
        Regression("neg_mae"),
        spans,
        answered,
        [
            Turn(version="1", status="promoted", trigger="manual", as_of=START),
            Turn(version="2", status="refused", trigger="data_drift", as_of=START + day),
        ],
        [_run(START + day, ["wind"], ["data_drift", "prediction_drift"]), _run(START + day * 2, [], [])],
        [Alert(kind="data_drift", raised_at=START + day)],
    )
    first, second, third = found
    assert [one["period"] for one in found] == ["2024-03-01", "2024-03-02", "2024-03-03"]
    assert [one["metrics"].get("neg_mae") for one in found] == [-2.0, -0.5, None]
    assert [turn["version"] for turn in first["turns"]] == ["1", "2"]
    assert (first["drift"]["drifted"], first["drift"]["answers"]) == (["wind"], True)
    assert (second["drift"]["drifted"], third["drift"]) == ([], None)
    assert (first["alerts"], second["alerts"]) == (["data_drift"], [])
    assert [one["labels"] for one in found] == [0, 1, 2]


def _hint(facts: Facts, alert: Facts, status: str) -> str:
    turns = [{"status": status, "as_of": "2024-05-06T00:00:00+00:00"}]
    return str(_held_back({**facts, "alerts": [alert], "turns": turns, "holdout_days": 137}) or "")


def test_the_summary_speaks_of_the_metric_of_the_task_and_shows_what_failed():
    task = Multiclass("f1_macro", classes=("a", "b", "c"))
    spans = [PlayedSpan(START, START + timedelta(days=1), sent=2, failed=1)]
    answered = log([START], [0.8], ["a"], answer=['{"a": 0.8, "b": 0.1, "c": 0.1}'])
    facts = {
        "task": "multiclass",
        "metric": "f1_macro",
        "workspace": "/w",
        "model": "m",
        "file": "replay.json",
        "turns": [],
        "gain": None,
        "alerts": [],
        "monitor_runs": [],
        "periods": periods(task, spans, answered, [], [], []),
        "traffic": {
            "sent": 2,
            "replayed": 1,
            "failed": 1,
            "logged": 1,
            "labels": 1,
            "errors": ["422 [wind] is text"],
        },
        "seconds": {"total": 1.0},
    }
    console = Console(file=io.StringIO(), width=80)
    render_summary(facts, console)
    shown = console.file.getvalue()
    assert "f1_macro" in shown
    assert "2 requests over HTTP (1 replayed, 1 more while versions changed), 1 failed" in " ".join(
        shown.split()
    )
    assert "422 [wind] is text" in shown
    assert "…" not in shown
    assert "AUC" not in shown
    assert "split.holdout_days" not in shown
    fallen = {"kind": "quality", "status": "firing", "raised_at": "2024-05-06T00:00:00+00:00"}
    assert "without the last 137 days" in _hint(facts, fallen, "refused")
    assert _hint(facts, fallen, "promoted") == _hint(facts, fallen | {"status": "resolved"}, "refused") == ""
    own = Console(file=io.StringIO(), width=80)
    render_summary({**facts, "task": "custom", "metric": "pipelines.forecast:closeness"}, own)
    assert "sent labels closeness version drift alerts turns" in " ".join(own.file.getvalue().split())


@pytest.mark.parametrize("metric", ["neg_mae", "recall_at_precision_90"])
def test_the_table_of_days_keeps_its_words_whole_in_80_columns(metric):
    period = {
        "period": "2024-03-01",
        "predictions": 12345,
        "labels": 12345,
        "metrics": {metric: 0.5},
        "versions": ["1", "2", "3"],
        "drift": {"drifted": list("abcdefghijkl"), "features": 29, "answers": True},
        "alerts": ["prediction_drift", "estimated_quality"],
        "turns": [{"version": "2", "status": "unchanged"}, {"version": "13", "status": "registered"}],
    }
    console = Console(file=io.StringIO(), width=80)
    console.print(period_table({"metric": metric, "periods": [period]}, 80))
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    whole = {"version", "drift", "alerts", "turns", "1,", "12", "29,", "answers", "unchanged"}
    assert {*whole, "registered", "2024-03-01"} <= {*shown.split()}
    assert {"quality", "drift"} <= {*shown.replace("_", " ").split()[-20:]}


@pytest.mark.parametrize("place", ["params", "stage"])
def test_paths_that_lead_elsewhere_in_a_workspace_are_refused_with_the_way_out(tmp_path, place):
    root = tmp_path / "made"
    root.mkdir()
    params = {
        "project": {"name": "made", "model": "made"},
        "dataset": {"path": "t.parquet", "time": "at", "label": "y", "label_known": "at"},
    }
    params |= {
        "features": {"from": "request"},
        "data": {"source": "../t.csv" if place == "params" else "t.csv", "as_of": None},
    }
    stages = {"ingest": {"cmd": "true", "deps": ["a.py", {"../u.csv": {}}] if place == "stage" else ["a.py"]}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    with pytest.raises(UsageError, match="would be another file in the workspace") as refused:
        run_replay(root, root / "workspace", ReplayRequest(), lambda *_: None)
    assert f"--workspace {tmp_path / 'made-replay'}" in refused.value.hint
    assert not (root / "workspace").exists()
    assert paths_elsewhere(load_project(root), tmp_path / "made-replay") == []


def test_a_start_of_the_demo_that_is_no_moment_is_named():
    project = SimpleNamespace(params={"demo": {"start": 20130401}})
    with pytest.raises(ConfigError, match=r"params\.yaml: demo\.start is 20130401, not a moment"):
        replay_run._declared(project, ReplayRequest())
