"""`tidemill db upgrade`, from schemas of earlier releases."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.ready_tables import migrations_run
from tidemill.cli.main import app
from tidemill.errors import StateError
from tidemill.state import open_state
from tidemill.state.schema import newest_heads
from tidemill.state.store import make_tables, schema_of
from tidemill.training.tracking.tracking_schema import tracking_schema

pytestmark = pytest.mark.engine

TITLE = "Users, their roles and sessions, failed logins; keys that carry roles and belong to users"


def upgrade(root: Path, *words: str) -> dict:
    done = CliRunner().invoke(app, ["db", "upgrade", "-p", str(root), "--json", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout)


@pytest.fixture
def root(tmp_path: Path, any_records: str) -> Path:
    (tmp_path / "params.yaml").write_text("project: {name: shop, model: shop}\n")
    (tmp_path / ".tidemill").mkdir()
    with migrations_run():
        make_tables(any_records, "0011")
    return tmp_path


def test_a_dry_run_tries_all_and_changes_nothing(root: Path, any_records: str):
    told = upgrade(root, "--dry-run")
    assert told["records"]["migrations"][0] == {"revision": "0012", "title": TITLE}
    assert told["records"]["migrations"][-1]["revision"] == told["records"]["newest"] == newest_heads()[0]
    assert schema_of(any_records) == "0011"
    assert not (root / ".tidemill" / "mlflow.db").exists()
    assert upgrade(root)["records"]["found"] == "0011"
    assert upgrade(root, "--dry-run")["records"]["migrations"] == []
    made = tracking_schema(f"sqlite:///{root / '.tidemill' / 'mlflow.db'}")
    assert made.found == made.wanted
    with open_state(any_records).transaction() as session:
        session.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateError, match="of a newer release of Tidemill"):
        upgrade(root, "--dry-run")
