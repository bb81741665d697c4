import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.warm_commands import command
from tests.warm_path import warm_path

pytestmark = pytest.mark.slow  # the process that is forked imports the engines, once for all tests
SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_it_has_the_streams_folder_variables_and_arguments_of_the_command(tmp_path: Path):
    (tmp_path / "own.py").write_text(
        "import os, sys; print(sys.argv[1:], os.environ['WHO'], input()); sys.exit(3)"
    )
    done = subprocess.run(
        command("-m", "own", "a b", 1), cwd=tmp_path, env={**os.environ, "WHO": "ada"}, input="said",
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "['a b', '1'] ada said\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("python own.py a", "['own.py', 'a']"),
        ("python -m own a", "a']"),
        ("echo 'import sys; print(sys.argv)' | python - a", "['-', 'a']"),
        ("python -V", "Python 3"),
        ("tidemill --version", "tidemill"),
    ],
)
def test_what_the_path_leads_to_does_as_the_real_one(tmp_path: Path, line: str, said: str):
    (tmp_path / "own.py").write_text("import sys; print(sys.argv)")
    env = {**os.environ, "PATH": f"{warm_path()}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_a_signal_goes_on_to_what_is_forked():
    told = f"import signal, sys; signal.signal(15, lambda *_: sys.exit('so be it')); {SLEEP}"
    with subprocess.Popen(command("-c", told), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
        assert process.communicate()[1] == b"so be it\n"
    assert process.returncode == 1


@pytest.mark.parametrize("who", ["the command", "what is forked"])
def test_what_is_killed_takes_the_other_with_it(who: str):
    with subprocess.Popen(command("-c", SLEEP), stdout=subprocess.PIPE) as process:
        forked = psutil.Process(int(process.stdout.readline()))
        assert forked.environ() == psutil.Process(process.pid).environ()
        assert forked.pid != process.pid
        os.kill(process.pid if who == "the command" else forked.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
        forked.wait(20)
