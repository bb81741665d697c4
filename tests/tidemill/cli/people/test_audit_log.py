import json

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from tidemill.accounts.audit import Act, append
from tidemill.cli.main import app
from tidemill.errors import AuditError, ConfigError, UsageError
from tidemill.project import load_project
from tidemill.state import open_state

PARAMS = """
project: {name: parcels, model: parcel-delay}
dataset: {path: data/rows.parquet, label: late}
features: {from: request}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "features.yaml").write_text("features: {weight: {type: float}}\n")
    return tmp_path


@pytest.fixture
def state(folder):
    opened = open_state(load_project(folder).state_url)
    with opened.transaction() as session:
        append(session, Act("ada", "promote", "version", "2", "parcel-delay", "=better", {"from": "1"}))
        append(session, Act("bob", "create", "token", "k1"))
    yield opened
    opened.close()


def run(folder, *words: str) -> str:
    done = CliRunner().invoke(app, ["audit", *words, "--project", str(folder)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_list_shows_the_latest_first_and_filters(folder, state):
    found = json.loads(run(folder, "list", "--json"))["entries"]
    assert [(one["seq"], one["actor"], one["action"]) for one in found] == [
        (2, "bob", "create"),
        (1, "ada", "promote"),
    ]
    assert found[1]["details"] == {"from": "1"}
    assert [one["seq"] for one in json.loads(run(folder, "list", "--json", "--actor", "ada"))["entries"]] == [
        1
    ]
    assert json.loads(run(folder, "list", "--json", "--to", "2013-01-01"))["entries"] == []
    assert "promote" in run(folder, "list")
    with pytest.raises(UsageError, match="not a moment"):
        run(folder, "list", "--from", "soon")


def test_verify_says_so_and_fails_on_a_change_or_a_missing_end(folder, state):
    head = run(folder, "head").strip()
    assert json.loads(run(folder, "verify", "--json")) == {"verified": 2, "first": 1, "head": head}
    assert "none was changed" in run(folder, "verify", "--head", head)
    with pytest.raises(UsageError, match="not what `tidemill audit head` prints"):
        run(folder, "verify", "--head", "abc")
    with state.transaction() as session:
        session.execute(sa.text("DROP TRIGGER audit_entries_delete"))
        session.execute(sa.text("DELETE FROM audit_entries WHERE seq = 2"))
    run(folder, "verify")
    with pytest.raises(AuditError, match="ends before entry 2"):
        run(folder, "verify", "--head", head)


def test_export_writes_json_lines_and_defused_csv(folder, state, tmp_path):
    lines = [json.loads(line) for line in run(folder, "export").splitlines()]
    assert [line["seq"] for line in lines] == [1, 2]
    out = tmp_path / "audit.csv"
    assert "2 entries" in run(folder, "export", "--format", "csv", "--out", str(out))
    assert "'=better" in out.read_text()
    with pytest.raises(UsageError, match="cannot be written"):
        run(folder, "export", "--out", str(tmp_path / "none" / "audit.csv"))


def test_prune_keeps_what_must_be_kept(folder, state):
    assert json.loads(run(folder, "prune", "--json")) == {"removed": 0, "until": None, "keep_days": 365}
    (folder / "params.yaml").write_text(PARAMS + "audit: {keep: 30d}\n")
    with pytest.raises(ConfigError, match="at least 183d"):
        run(folder, "prune")
