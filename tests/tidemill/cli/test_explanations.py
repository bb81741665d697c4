"""``tidemill runs explain`` shows what each difference is worth, and what is left to fit."""

from typer.testing import CliRunner

from tidemill.cli.main import app
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
