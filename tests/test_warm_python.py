import os
import signal
from pathlib import Path

import pytest

from tests.warm_python import COMMAND, run_warm

LIGHT = ("tidemill.version",)


def test_it_is_a_process_of_its_own_with_its_own_folder_variables_and_arguments(tmp_path: Path):
    code = "import os, sys; print(os.getcwd(), os.environ['WHO'], sys.argv[1:]); os.environ['WHO'] = 'two'"
    for who in ("one", "three"):
        done = run_warm(code, "a b", 1, cwd=tmp_path, env={"WHO": who}, modules=LIGHT)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path} {who} ['a b', '1']\n", "")
    assert "WHO" not in os.environ


@pytest.mark.parametrize(
    ("code", "returncode", "stderr"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        (
            "import atexit, sys; atexit.register(lambda: print('last', file=sys.stderr)); sys.exit()",
            0,
            "last\n",
        ),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL, ""),
    ],
)
def test_it_ends_as_python_does(code: str, returncode: int, stderr: str):
    done = run_warm(code, modules=LIGHT)
    assert (done.returncode, done.stdout, done.stderr) == (returncode, "", stderr)


def test_an_error_is_shown_with_its_traceback():
    done = run_warm("import os\nos.no_such_thing", modules=LIGHT)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "no_such_thing" in done.stderr.splitlines()[-1]


def test_what_the_command_line_says_is_what_a_process_from_nothing_says(tmp_path: Path):
    done = run_warm(COMMAND, "models", "list", cwd=tmp_path, modules=["tidemill.cli.main"])
    assert done.returncode == 2
    assert "is not a Tidemill project" in " ".join(done.stderr.split())
