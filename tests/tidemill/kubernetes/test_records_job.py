"""The Job that brings the records to a release, as a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tidemill.accounts.users import find_user, has_admin, user_info
from tidemill.errors import StateError
from tidemill.kubernetes.records_job import main, open_when_there
from tidemill.state import open_state

pytestmark = pytest.mark.slow


def run(url: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tidemill.kubernetes.records_job", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
    return subprocess.run(
        command,
        env=environment | ({"TIDEMILL_STATE_URL": url} if url else {}),
        capture_output=True,
        text=True,
    )


def test_it_makes_the_records_and_the_first_admin_once(postgres_url: str, tmp_path: Path):
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    arguments = ["--admin", "Ada", "--password-file", str(password)]
    done = run(postgres_url, *arguments)
    assert done.returncode == 0, done.stderr
    assert "added the first admin: Ada" in done.stderr
    assert "correct horse" not in done.stderr
    state = open_state(postgres_url)
    assert has_admin(state)
    with state.transaction() as session:
        assert user_info(session, find_user(session, "ada")).roles == {"*": ["admin"]}
    password.write_text("another horse battery\n")
    again = run(postgres_url, *arguments)
    assert again.returncode == 0, again.stderr
    assert "added" not in again.stderr


@pytest.mark.parametrize(
    ("url", "arguments", "said"),
    [
        ("", [], "set TIDEMILL_STATE_URL"),
        ("sqlite://", ["--admin", "ada"], "--admin needs --password-file"),
        ("sqlite://", ["--admin", "ada", "--password-file", "/nowhere"], "secrets.firstAdmin"),
        ("mysql://db/x", ["--wait", "0"], "cannot be kept in mysql"),
    ],
)
def test_it_says_what_is_missing(
    url: str,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setenv("TIDEMILL_STATE_URL", url)
    assert main(arguments) == 1
    assert said in caplog.text


def test_a_database_that_stays_away_is_said():
    with pytest.raises(StateError):
        open_when_there("postgresql://tidemill@127.0.0.1:9/none", 0.1)
