"""A table of several classes with a time: its own loop turns on its own past, over real servers."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tidemill.data.versioning.params_file import set_values

from .conftest import run, run_with_warm_workers

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SMALL = {
    "split.validation_days": 5,
    "split.holdout_days": 5,
    "train.families": ["linear"],
    "train.trials": 1,
    "gate.min_rows": 20,
}
MONITORS = """\
monitors:
  - name: weekly
    window: 7d
    every: 2d
    min_rows: 50
    min_labelled: 30
    data_drift: {numerical: 0.5}
    quality: {max_drop: 0.5}
"""
POLICIES = """\
policies:
  - name: keep-fresh
    alerts: [quality, data_drift]
    cooldown: 14d
"""


def write_table(path: Path) -> None:
    """Write 40 days of berries; after 30 of them the ripe ones become the small ones."""
    draw, count = np.random.default_rng(0), 1000
    day = np.sort(draw.uniform(0, 40, count))
    size = draw.normal(size=count)
    sign = np.where(day > 30, -1.0, 1.0) * size + draw.normal(size=count) * 0.3
    pl.DataFrame(
        {
            "picked": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=one) for one in day.tolist()],
            "size": size.round(3) + (day > 30) * 2.0,
            "colour": draw.choice(["red", "green"], count),
            "ripeness": np.select([sign < -0.5, sign < 0.5], ["raw", "soon"], "ripe"),
        }
    ).write_csv(path)


def test_past_rows_turn_the_loop_of_a_table(tmp_path: Path, leaves_no_process: None):
    write_table(tmp_path / "berries.csv")
    folder = tmp_path / "berries"
    options = ["--target", "ripeness", "--time", "picked", "--labels-after", "1d"]
    done = run("init", folder, "--data", tmp_path / "berries.csv", *options)
    assert done.returncode == 0, done.stderr
    params = folder / "params.yaml"
    params.write_text(set_values(params.read_text(), SMALL) + "  min_gain: -10.0\n")  # of the gate
    (folder / "monitoring" / "monitors.yaml").write_text(MONITORS)
    (folder / "monitoring" / "policies.yaml").write_text(POLICIES)
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}

    period = ["--from", "2024-01-21", "--rate", "15", "--labels-after", "2d"]
    done = run_with_warm_workers("replay", "--project", folder, *period, "--json", timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads(done.stdout.splitlines()[-1])

    assert before == {
        path: path.read_bytes() for path in folder.rglob("*.yaml") if "workspace" not in path.parts
    }
    assert facts == json.loads((folder / "workspace" / "replay.json").read_text())
    first, retrained = facts["turns"][:2]
    assert (first["as_of"], first["status"]) == ("2024-01-21T00:00:00+00:00", "promoted")
    assert retrained["status"] == "promoted"
    assert retrained["by"] == "policy:keep-fresh"
    assert retrained["swap"]["failed"] == 0
    assert (facts["task"], facts["metric"]) == ("multiclass", "neg_log_loss")

    days = {one["period"]: one for one in facts["periods"]}
    assert [min(days), max(days)] == ["2024-01-21", "2024-02-09"]
    assert {one["predictions"] for one in facts["periods"]} == {15}
    assert [one["labels"] for one in facts["periods"]][:2] == [0, 0], "labels come two days later"
    assert facts["traffic"]["failed"] == 0
    assert facts["traffic"]["labels"] == sum(one["labelled"] for one in facts["periods"]) == 15 * 20
    calm, changed = (days[day]["metrics"]["accuracy"] for day in ("2024-01-25", "2024-02-01"))
    assert calm > 0.6 > 0.5 > changed
    assert any("quality" in one["alerts"] or "data_drift" in one["alerts"] for one in facts["periods"])
    assert facts["gain"]["served"]["metrics"]["neg_log_loss"] is not None
