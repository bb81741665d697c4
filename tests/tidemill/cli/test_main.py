import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app, exit_code
from tidemill.errors import GateRefused, ProjectNotFound, TidemillError, UsageError

COMMANDS = [
    "init", "run", "models", "promote", "rollback", "up", "down", "status", "predict", "monitor", "alerts",
    "retrain", "demo",
]  # fmt: skip
LEAVES = [
    *[[name] for name in COMMANDS if name not in ("models", "monitor", "alerts")],
    *[["models", name] for name in ("list", "show", "history")],
    *[["monitor", name] for name in ("list", "run")],
    *[["alerts", name] for name in ("list", "ack")],
    *[["features", name] for name in ("status", "materialise")],
    *[["data", name] for name in ("validate", "infer", "bias")],
]


def tidemill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidemill.cli.main", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_the_help_names_every_command():
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in shown.output


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_every_command_has_help_an_example_and_json(command: list[str]):
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "Example" in shown.output
    assert "--json" in shown.output


def test_outside_a_project(tmp_path: Path):
    done = tidemill("status", cwd=tmp_path)
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr.replace("\n", "")
    assert "tidemill init" in done.stderr
    assert done.stdout == ""


def test_errors_for_machines(tmp_path: Path):
    done = tidemill("models", "list", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stderr)["error"] == "ProjectNotFound"


def test_an_unknown_command(tmp_path: Path):
    assert tidemill("fly", cwd=tmp_path).returncode == 2


def test_square_brackets_in_a_message_are_text(tmp_path: Path):
    done = tidemill("run", "--as-of", "[/bold]", cwd=tmp_path)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [(GateRefused("no"), 3), (UsageError("no"), 2), (ProjectNotFound("no"), 2), (TidemillError("no"), 1)],
)
def test_exit_codes(error: TidemillError, code: int):
    assert exit_code(error) == code
