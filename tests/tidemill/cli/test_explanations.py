"""``tidemill runs explain`` shows what each difference is worth, and what is left to fit."""

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.cli.models.explanations import _what_is_left
from tidemill.tasks.paired_bootstrap import Interval
from tidemill.training.reproduction import explain as explaining
from tidemill.training.reproduction.gain_shares import Explanation, FactorGain
from tidemill.training.reproduction.run_factors import Factor
from tidemill.training.tracking import whole_runs


def test_gains_are_ranked_with_intervals_and_what_is_left_is_said(tmp_path, monkeypatch):
    a, b = "a" * 32, "b" * 32
    gains = [
        FactorGain(Factor("data", ("1", "2")), 0.02, Interval(0.01, 0.03)),
        FactorGain(Factor("code", ("3", "4")), None, None, "it cannot be fitted: no such module"),
    ]
    found = Explanation(
        "roc_auc", (a, b), b, 1200, (0.7, 0.75), gains, 0.05, Interval(0.04, 0.06), None, ["numpy 1, then 2"],
        2, 1, 4, "interrupted",
    )  # fmt: skip
    asked = {}

    def answer(project, *runs, **given):
        asked.update(given, runs=runs)
        return found

    monkeypatch.setattr(explaining, "explain", answer)
    monkeypatch.setattr(whole_runs, "find_run_id", lambda project, name: name * 32)
    (tmp_path / "params.yaml").write_text(
        "project: {name: n, model: m}\ndataset: {path: t.parquet, label: late}\nfeatures: {from: request}\n"
    )
    line = ["runs", "explain", "a", "b", "--minutes", "3", "-p", str(tmp_path)]
    done = CliRunner().invoke(app, line, env={"COLUMNS": "100"})
    assert done.exit_code == 130
    assert (asked["runs"], asked["refits"], asked["minutes"]) == ((a, b), None, 3.0)
    assert "gain +0.0500 (+0.0400 to +0.0600)" in done.output
    assert "+0.0200 (+0.0100 to +0.0300)" in done.output
    assert "code: it cannot be fitted: no such module" in done.output
    assert "numpy 1, then 2" in done.output
    assert "1 fit left (interrupted)" in done.output
    CliRunner().invoke(app, line[:4] + line[-2:])
    assert asked["refits"] == 0


@pytest.mark.parametrize(
    ("values", "fits", "needed", "says"),
    [
        (
            (None, None),
            0,
            2,
            "no difference is measured: both runs are fitted first; --refits 2 measures the",
        ),
        ((None, None), 0, 6, "--refits 3 measures the first difference, --refits 6 all"),
        ((0.7, None), 1, 6, "--refits 2 measures the first difference, --refits 5 all"),
        (
            (0.7, 0.8),
            2,
            6,
            "yet, only both runs were fitted; --refits 1 measures the next: 4 fits left (budget)",
        ),
    ],
)
def test_too_few_fits_for_any_difference_are_said_to_be(values, fits, needed, says):
    gains = [FactorGain(Factor(name, ("1", "2")), None, None) for name in ("data", "code", "family")]
    total = None if None in values else values[1] - values[0]
    found = Explanation(
        "roc_auc", ("a", "b"), "b", 9, values, gains, total, None, None, [], fits, 0, needed, "budget"
    )
    assert says in _what_is_left(found)
