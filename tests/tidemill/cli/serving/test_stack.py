"""What `tidemill up` says of replicas that do not answer with the champion."""

from pathlib import Path

from tidemill.cli.serving.stack import _troubled
from tidemill.clock import SystemClock
from tidemill.project import open_folder
from tidemill.serving.routing.replicas import record_status
from tidemill.serving.routing.version_watcher import Status
from tidemill.state import open_state

PARAMS = "project: {name: shop, model: returns}\n"


def test_replicas_that_cannot_load_the_champion_are_told_and_others_are_not(tmp_path: Path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    folder = open_folder(tmp_path)
    (tmp_path / ".tidemill").mkdir(exist_ok=True)
    state, now = open_state(folder.state_url), SystemClock().now()
    record_status(state, "returns", "fine", Status("3", "3"), now)
    record_status(state, "returns", "waits", Status(None, "3", "the model takes no gap"), now)
    state.close()
    assert [(one.id, one.error) for one in _troubled(tmp_path)] == [("waits", "the model takes no gap")]


def test_records_that_cannot_be_read_end_nothing(tmp_path: Path, capsys):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / ".tidemill").mkdir()
    (tmp_path / ".tidemill" / "state.db").write_text(
        "no database, but text that is long enough to be read " * 40
    )
    assert _troubled(tmp_path) == []
    assert "whether the champion answers cannot be read" in capsys.readouterr().err
