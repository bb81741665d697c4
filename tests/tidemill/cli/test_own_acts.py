"""Commands whose effect is in git, in MLflow or in the prediction log are on record, by who ran them."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tidemill.accounts.auditing.audit_reading import AuditFilter, all_entries
from tidemill.cli.main import app
from tidemill.data.labels import label_import
from tidemill.data.versioning import add
from tidemill.errors import DataError
from tidemill.prediction_log import bulk_labels
from tidemill.prediction_log.upkeep import retention
from tidemill.project import load_project
from tidemill.serving.runtime import daemon
from tidemill.state import open_state
from tidemill.state.record_reader import Records

PARAMS = {
    "project": {"name": "parcels", "model": "parcel-delay"},
    "dataset": {"path": "data/rows.parquet", "label": "late"},
    "features": {"from": "request"},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(json.dumps(PARAMS))
    (tmp_path / "features.yaml").write_text("features: {weight: {type: float}}\n")
    (tmp_path / "rows.csv").write_text("a\n1\n")
    monkeypatch.setenv("TIDEMILL_ACTOR", "ada")
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [*words])


def acts(folder):
    url = load_project(folder).state_url
    open_state(url).close()
    return [
        (one.actor, one.action, one.resource, one.resource_id, one.model)
        for one in all_entries(Records(url), AuditFilter())
    ]


@pytest.mark.parametrize(
    ("words", "where", "name", "said"),
    [
        (("data", "add", "rows.csv", "-m", "more"), add, "add", ("add", "data", "rows.csv")),
        (
            ("data", "labels", "import", "rows.csv", "--key", "a", "--name", "votes"),
            label_import,
            "import_labels",
            ("import", "labels", "votes"),
        ),
        (("up",), daemon, "up", ("start", "serving", "parcel-delay")),
        (("down",), daemon, "down", ("stop", "serving", "parcel-delay")),
        (("log", "labels", "rows.csv"), bulk_labels, "import_label_file", ("import", "labels", "log")),
    ],
)
def test_an_act_is_on_record_when_it_is_about_to_take_effect(
    run, tmp_path, monkeypatch, words, where, name, said
):
    effects = []

    def fake(*given, before=None, **named):
        assert acts(tmp_path) == []
        (before or given[-1])()
        effects.append(acts(tmp_path))
        raise DataError("git refuses")

    monkeypatch.setattr(where, name, fake)
    assert "git refuses" in str(run(*words).exception)
    assert effects == [[("ada", *said, "parcel-delay")]]


def test_a_stack_is_on_record_right_before_it_starts_and_stops_and_not_if_it_does_neither(
    run, tmp_path, monkeypatch
):
    assert run("down").exit_code != 0  # none runs
    assert acts(tmp_path) == []
    running = SimpleNamespace(pid=2**22 + 1, state="ready")  # no process has that number
    monkeypatch.setattr(daemon, "_clean", lambda *given: None)
    monkeypatch.setattr(daemon.stack_record, "status", lambda project: running)
    assert run("up").exit_code != 0  # one runs already
    assert run("down").exit_code == 0
    monkeypatch.setattr(daemon.stack_record, "status", lambda project: None)
    monkeypatch.setattr(daemon, "require_coherent", lambda project: None)  # there is nothing to serve here
    monkeypatch.setattr(daemon, "_stay", lambda *given: acts(tmp_path))
    assert run("up", "--foreground").exit_code == 0
    assert [one[1] for one in acts(tmp_path)] == ["stop", "start"]


def test_what_only_says_what_would_go_is_no_act(run, tmp_path, monkeypatch):
    def fake(*given):
        raise DataError("enough")

    monkeypatch.setattr(retention, "prune", fake)
    run("log", "prune", "--before", "2013-01-01", "--dry-run")
    assert acts(tmp_path) == []
    run("log", "prune", "--before", "2013-01-01")
    assert acts(tmp_path) == [("ada", "prune", "prediction", "log", "parcel-delay")]
