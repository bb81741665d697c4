import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tidemill.cli.command_tree import ENTRIES, Entry, _folded
from tidemill.cli.main import app, exit_code
from tidemill.errors import (
    AlertNotFound,
    GateRefused,
    JobNotFound,
    ModelNotFound,
    ProjectNotFound,
    TidemillError,
    UsageError,
    VersionNotFound,
)

TREE = typer.main.get_command(app)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give every command that is not a group, with its path."""
    inner = getattr(command, "commands", None)
    if not inner or command.invoke_without_command:
        yield path, command
    for name in inner or ():
        yield from leaves(inner[name], (*path, name))


LEAVES = dict(leaves(TREE))


def tidemill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidemill.cli.main", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_the_help_names_every_command():
    shown = CliRunner().invoke(app, ["--help"])
    assert shown.exit_code == 0
    for entry in ENTRIES:
        assert f" {entry.name} " in shown.output
        assert entry.sentence in shown.output


def test_no_decision_goes_on_record_with_a_blank_reason():
    asking = [path for path, command in LEAVES.items() if {"reason", "comment"} & needed(command)]
    assert len(asking) >= 9
    for path in [*asking, ("promote",), ("rollback",)]:
        command = LEAVES[path]
        why = "--comment" if "comment" in {each.name for each in command.params} else "--reason"
        given = ["1" for each in command.params if each.param_type_name == "argument" and each.required]
        until = ["--until", "2d"] if "until" in needed(command) else []
        shown = CliRunner().invoke(app, [*path, *given, *until, why, " "])
        assert (shown.exit_code, "say why: it goes on record" in shown.output) == (2, True), shown.output


def needed(command: Any) -> set[str]:
    return {each.name for each in command.params if each.required}


def test_the_tree_has_all_commands():
    assert {path[0] for path in LEAVES} == {entry.name for entry in ENTRIES}
    assert len(LEAVES) > 55


def test_help_imports_no_command():
    code = (
        "import sys; from typer.testing import CliRunner; from tidemill.cli.main import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "heavy = ('rich', 'pydantic');"
        "print([name for name in sys.modules if name.startswith('tidemill.') or name in heavy])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(done.stdout)) == {
        "tidemill.cli",
        "tidemill.cli.main",
        "tidemill.cli.command_tree",
        "tidemill.cli.output",
        "tidemill.cli.output_streams",
        "tidemill.cli.private_typer",
        "tidemill.errors",
        "tidemill.garbage",
        "tidemill.version",
    }


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_an_example_and_json(path: tuple[str, ...]):
    shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    assert re.search(r"^  Examples?:\n    tidemill", shown.output, re.MULTILINE), shown.output
    assert "--json" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 80, shown.output
    assert "..." not in (LEAVES[path].help or "...").split("\n")[0]


def test_the_moment_of_a_command_is_that_of_params_yaml_only_where_stages_or_rules_use_it():
    defaults = {}
    for path, command in LEAVES.items():
        for option in command.params:
            if "--as-of" in option.opts:
                defaults[" ".join(path)] = "params.yaml" in option.help
                assert "default: now" in option.help or defaults[" ".join(path)], path
    assert {path for path, declared in defaults.items() if declared} == {
        "run",
        "retrain",
        "models import",
        "data validate",
        "data infer",
    }
    assert {"monitor run", "promote", "deploy report", "score schedule run"} <= defaults.keys()


def test_a_long_example_is_one_command_for_a_shell():
    instance = {"city": "Rome", "tailnum": "N31412", "scheduled_departure": "2013-12-23T10:15:00-05:00"}
    line = f"tidemill predict '{json.dumps(instance)}' --at 2013-12-23T06:00"
    examples = "\n".join(_folded(line))
    assert len(examples.splitlines()) > 2
    shell = subprocess.run(
        ["bash", "-c", f"tidemill() {{ printf '%s\\n' \"$@\"; }}\n{examples}"], capture_output=True, text=True
    )
    words = shell.stdout.split("\n")
    assert words[0] == "predict"
    assert words[-3:] == ["--at", "2013-12-23T06:00", ""]
    assert json.loads("".join(words[1:-3]))["tailnum"] == "N31412"


def test_the_help_of_predict_is_about_any_project():
    epilog = LEAVES["predict",].epilog
    assert "tidemill predict --example" in epilog
    assert not {"carrier", "tailnum", "flight"} & set(epilog.replace('"', " ").split())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_command_at_the_top_has_one_first_sentence(entry: Entry):
    first = TREE.commands[entry.name].help.split("\n")[0]
    assert first.startswith(entry.sentence)


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


@pytest.mark.slow
def test_square_brackets_in_a_message_are_text(tmp_path: Path):
    done = tidemill("run", "--as-of", "[/bold]", cwd=tmp_path)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GateRefused("no"), 3),
        (UsageError("no"), 2),
        (ProjectNotFound("no"), 2),
        (ModelNotFound("no"), 2),
        (JobNotFound("no"), 2),
        (AlertNotFound("no"), 2),
        (VersionNotFound("no"), 2),
        (TidemillError("no"), 1),
    ],
)
def test_exit_codes(error: TidemillError, code: int):
    assert exit_code(error) == code


def test_paths_are_read_as_utf8_whatever_the_locale(tmp_path: Path):
    project = tmp_path / "Verspätungen ✈"
    project.mkdir()
    code = (
        "import os, sys; from tidemill.cli import main; "
        "main.app = lambda: print(os.getcwd(), sys.argv[1], sys.flags.utf8_mode); main.main()"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, "é"], cwd=project, env=environment, capture_output=True, check=False
    )
    assert done.stdout.decode().split("\n")[0] == f"{project} é 1", done.stderr
    latin = [sys.executable, "-c", code, b"caf\xe9"]
    done = subprocess.run(latin, cwd=project, env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"error: an argument is not in UTF-8: caf\\xe9\n" in done.stderr
    forced = [
        sys.executable,
        "-X",
        "utf8=0",
        "-m",
        "tidemill.cli.main",
        "--version",
    ]  # starts again only once
    done = subprocess.run(forced, cwd=project, env=environment, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_output_that_cannot_be_encoded_is_shown_with_marks():
    code = "from tidemill.cli import main; main.app = lambda: print('to ✈'); main.main()"
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"to ?\n", b"")


@pytest.mark.engine
@pytest.mark.parametrize(("given", "taken"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_threads_of_engines_wait_without_spinning_unless_the_environment_says_so(given, taken):
    code = (
        "from tidemill.cli import main\n"
        "def work(): import sklearn.utils._openmp_helpers\n"
        "main.app = work; main.main()"
    )
    environment = {**os.environ, "OMP_DISPLAY_ENV": "true"}
    environment.pop("OMP_WAIT_POLICY", None)
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert re.findall(r"OMP_WAIT_POLICY *= *'(\w+)'", done.stderr) == [taken]


@pytest.mark.parametrize("replaced", [False, True], ids=["as it is", "replaced, as Ray does"])
def test_sigterm_is_one_plain_line_and_exit_code_143(replaced):
    code = (
        "import time; from tidemill.cli import main\n"
        "def work():\n"
        "    print('begun', flush=True)\n"
        "    try: time.sleep(60)\n"
        f"    except SystemExit as error: raise SystemExit(1) if {replaced} else error\n"
        "main.app = work; main.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.communicate(timeout=30)[1] == "terminated\n"
    assert process.returncode == 143


DROPS = """
import os, time, weakref
from tidemill.cli import main

class Collected: pass

def app():
    def slow(_):
        os.write(1, b"in a callback\\n")
        time.sleep(0.5)
    collected = Collected()
    watched = weakref.ref(collected, slow)
    del collected
    try:
        time.sleep(20)
    finally:
        time.sleep(1.5)
        print("cleaned", flush=True)

main.app = app
main.main()
"""


@pytest.mark.slow
def test_sigterm_is_not_lost_where_python_drops_exceptions_nor_cuts_the_cleaning_off():
    process = subprocess.Popen(
        [sys.executable, "-c", DROPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "in a callback\n"
    process.terminate()
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out, said) == (143, "cleaned\n", "terminated\n")
