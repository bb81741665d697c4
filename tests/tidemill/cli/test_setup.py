import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.warm_python import COMMAND, run_warm

pytestmark = pytest.mark.engine


def init(*arguments: object, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = os.environ if path is None else {**os.environ, "PATH": path}
    return run_warm(COMMAND, "init", *arguments, "--json", env=env)


def test_a_new_project_is_under_git_and_dvc(tmp_path: Path):
    done = init(tmp_path / "new", "--remote", tmp_path / "remote")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / ".git").is_dir()
    assert (tmp_path / "new" / ".dvc" / "config").is_file()
    assert (tmp_path / "remote").is_dir()


@pytest.mark.parametrize("folder", ["a/new", "empty"])
def test_without_git_nothing_stays(tmp_path: Path, folder: str):
    (tmp_path / "empty").mkdir()
    done = init(tmp_path / folder, "--remote", tmp_path / "b" / "remote", path="/nowhere")
    assert done.returncode == 1
    assert "git is not installed" in json.loads(done.stderr)["message"]
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_remote_that_cannot_be_made_is_named_and_nothing_stays(tmp_path: Path):
    done = init(tmp_path / "new", "--remote", "/proc/zz")
    assert done.returncode == 1
    assert "/proc/zz cannot be made as the DVC remote" in json.loads(done.stderr)["message"]
    assert not any(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    done = init(tmp_path)
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_project_out_of_a_table(tmp_path: Path):
    rows = [f"{n},{n % 7},{'yes' if n % 3 == 0 else 'no'}" for n in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["row,size,left", *rows]))
    done = init(tmp_path / "new", "--data", tmp_path / "t.csv", "--target", "left")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert len(facts["files"]) == 10
    assert [one["subject"] for one in facts["assumptions"]] == [
        "data",
        "target",
        "time",
        "key",
        "split",
        "features",
    ]
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=tmp_path / "new", capture_output=True, text=True, check=True
    )
    assert set(facts["files"]) < set(tracked.stdout.split())


_KILLED = """
import os, signal, sys
from tidemill.cli.main import main
from tidemill.data.repository import repository_setup
repository_setup.commit_staged = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main())
"""


def test_a_killed_init_leaves_only_what_the_next_one_removes(tmp_path: Path):
    rows = [f"{n},{n % 7},{'yes' if n % 3 == 0 else 'no'}" for n in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["row,size,left", *rows]))
    (tmp_path / "empty").mkdir()
    table = ["--data", f"{tmp_path / 't.csv'}", "--target", "left"]
    for arguments in ([f"{tmp_path / 'a' / 'new'}", *table], [f"{tmp_path / 'empty'}", "--example", "wine"]):
        done = run_warm(_KILLED, "init", *arguments)
        assert done.returncode == -signal.SIGKILL, done.stderr
    [leftover] = (tmp_path / "a").iterdir()
    assert leftover.name.startswith(".new.")
    assert (leftover / "params.yaml").exists()
    assert not any((tmp_path / "empty").iterdir())
    done = init(tmp_path / "a" / "new", *table)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    config = (tmp_path / "a" / "new" / ".dvc" / "config").read_text()
    assert "url = ../.tidemill/remote" in config
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path / "a" / "new", capture_output=True, check=True
    )
    assert status.stdout == b""


def test_of_a_table_that_is_wrong_nothing_stays(tmp_path: Path):
    (tmp_path / "t.csv").write_text("size,left\n1,yes\n2,yes\n")
    done = init(tmp_path / "a" / "new", "--data", tmp_path / "t.csv", "--target", "left")
    assert done.returncode == 1
    assert "one value in all rows" in json.loads(done.stderr)["message"]
    done = init(tmp_path / "a" / "new", "--data", tmp_path / "t.csv", "--target", "lft")
    assert done.returncode == 2
    assert "did you mean left?" in json.loads(done.stderr)["hint"]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "--target", "left"], "--data is missing"),
        (["new", "--data", "t.csv", "--example", "flights"], "exclude each other"),
        (["new", "--data", "t.csv", "--target", "left", "--task", "guess"], "no such task"),
        (["new", "--example", "boats"], "no example 'boats'"),
        ([], "DIR is missing"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, arguments: list[str], message: str):
    done = init(*[tmp_path / one if one == "new" else one for one in arguments])
    assert done.returncode == 2
    assert message in json.loads(done.stderr)["message"]
    assert not any(tmp_path.iterdir())


def test_examples_are_listed_and_copied(tmp_path: Path):
    listed = json.loads(init("--example").stdout)["examples"]
    assert json.loads(init("--example", "list").stdout)["examples"] == listed
    assert set(listed) >= {"flights", "arrival_delay", "digits", "no_time", "wine"}
    for name in ("flights", "wine"):  # tests/examples runs the others
        done = init(tmp_path / name, "--example", name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name / "params.yaml").is_file()


def test_on_a_terminal_what_is_missing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    from tidemill.cli import setup
    from tidemill.cli.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(setup, "can_ask", lambda _json: True)
    rows = [f"{n},{n + 5000},{n % 7},{'yes' if n % 3 == 0 else 'no'}" for n in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["row_id,order_id,size,left", *rows]))
    answers = ["mine", "t.csv", "lefft", "left", "order_id"]
    done = CliRunner().invoke(app, ["init"], input="\n".join(answers) + "\n", catch_exceptions=False)
    assert done.exit_code == 0, done.output
    params = (tmp_path / "mine" / "params.yaml").read_text()
    assert "label: left" in params
    assert "key: order_id" in params
    assert "Which column is to be predicted?" in done.output
    assert "Which column says what a row is about?" in done.output
