"""What ``policies backtest`` prints."""

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from tidemill.cli.loop.policy_backtest import _render_backtest

AT = datetime(2023, 6, 1, tzinfo=UTC)
STRATEGY = {
    "name": "keep-fresh",
    "mean": -25.8,
    "promoted": 0,
    "retrainings": 1,
    "wrong_promotions": 0,
    "surely_wrong": 0,
    "expected_worse": None,
    "cpu_seconds": 1.0,
    "periods": {"2023-04": -25.8},
    "policies": ["keep-fresh"],
    "turns": [
        {
            "status": "rolled_back",
            "gain": 0.8,
            "window": None,
            "reason": "mae rose",
            "at": AT,
            "proof": "9 labels",
        }
    ],
}


def test_rows_that_the_training_set_lacks_are_told_and_statuses_are_words():
    facts = {"metric": "neg_mae", "fits": 1, "family": "linear", "conclusion": (), "notes": ()}
    facts |= {"strategies": [STRATEGY], "later_rows": 1188, "known_until": AT}
    console = Console(file=StringIO(), width=90, record=True)
    _render_backtest(console, facts, None)
    said = " ".join(console.export_text().split())
    assert "2023-06-01 rolled back (proof: 9 labels), +0.8000 in the 30 days after: mae rose" in said
    assert "! 1,188 rows are known later than 2023-06-01 00:00 UTC" in said
