"""Backtests go on record, the latest few of a model."""

import json
from datetime import UTC, datetime, timedelta

from typer.testing import CliRunner

from tests.tidemill.dashboard.conftest import PARAMS
from tidemill.cli.main import app
from tidemill.retraining.backtest import backtest
from tidemill.retraining.backtest.backtest import Backtest, BacktestRequest
from tidemill.retraining.backtest.backtest_record import KEPT, keep_backtest
from tidemill.retraining.backtest.played_turns import Played, PlayedTurn
from tidemill.retraining.backtest.strategies import Strategy
from tidemill.retraining.policies import Policy
from tidemill.state import open_state
from tidemill.state.record_reader import Records

START = datetime(2013, 4, 1, tzinfo=UTC)
TURN = PlayedTurn(START, "promoted", "wind moved", -0.01, surely=True, error=0.005)
NEVER = Played("never", (), (("2013-04", 0.7), ("2013-05", float("nan"))), 0.5)
KEEP_FRESH = Strategy((Policy.model_validate({"name": "keep-fresh", "alerts": ["quality"]}),))
FRESH = Played("keep-fresh", (TURN,), (("2013-04", 0.71), ("2013-05", 0.72)), 4.0, KEEP_FRESH)
FOUND = Backtest("roc_auc", START, START + timedelta(days=60), "trees", 3, (NEVER, FRESH), ("on samples",))


def test_the_latest_few_of_each_model_are_kept(tmp_path):
    url = f"sqlite:///{tmp_path}/state.db"
    state = open_state(url)
    keep_backtest(state, "other", FOUND, "ada", START)
    made = [keep_backtest(state, "m", FOUND, "ada", START + timedelta(days=n)) for n in range(KEPT + 2)]
    rows = Records(url).select("policy_backtests", "model = ?", "m", order="made_at")
    assert [row.id for row in rows] == made[2:]
    assert rows[0].results["strategies"][1]["turns"][0]["at"] == START.isoformat()
    assert Records(url).ids("policy_backtests", "other") != []


def test_the_command_records_what_it_found(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "features.yaml").write_text("features: {weight: {type: float}}\n")
    asked = list[BacktestRequest]()
    monkeypatch.setattr(
        backtest, "run_backtest", lambda project, request, tell: asked.append(request) or FOUND
    )
    command = ["policies", "backtest", "-p", str(tmp_path)]
    done = CliRunner().invoke(app, [*command, "--json", "--proof", "none", "--proof", "lasting"])
    assert done.exit_code == 0, done.output
    shown = CliRunner().invoke(app, [*command, "--gate", "interval"], env={"COLUMNS": "200"})
    assert [(each.gates, each.proofs) for each in asked] == [((), ("none", "lasting")), (("interval",), ())]
    assert "keep-fresh  0.7150        1 of 1    1      1       1.0 (1–1)" in shown.stdout
    assert "wrong promotions of keep-fresh: 1 of 1; in the long run 2 to 100 % may be wrong" in shown.stdout
    assert "keep-fresh:\n  2013-04-01 promoted, -0.0100 in the 30 days after: wind moved\n" in shown.stdout
    told = json.loads(done.stdout)
    known = Records(tmp_path / ".tidemill/state.db")
    row, _ = known.select("policy_backtests", "model = ?", "parcel-delay", order="made_at")
    assert (row.id, row.results["metric"]) == (told["id"], "roc_auc")
    assert row.results["strategies"][1]["wrong_promotions"] == told["strategies"][1]["wrong_promotions"] == 1
