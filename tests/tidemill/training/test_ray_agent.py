import subprocess
import sys
import time
from pathlib import Path

from tidemill.training import ray_agent

STARTER = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid, flush=True)
sys.stdin.read()
"""


def test_it_says_that_nothing_is_served_and_ends_with_what_started_it(tmp_path: Path):
    agent = [sys.executable, "-S", "-E", ray_agent.__file__, "/ray/dashboard/agent.py"]
    options = [f"--session-dir={tmp_path}", "--node-id=77c2", "--grpc-port=0", "--head"]
    command = [sys.executable, "-c", STARTER, *agent, *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        files = {f"{name}_77c2" for name in ray_agent.PORTS}
        deadline = time.monotonic() + 30
        while {one.name for one in tmp_path.iterdir()} != files:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert {one.read_text() for one in tmp_path.iterdir()} == {"-1"}
        starter.stdin.close()
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_imports_nothing_but_what_python_has_anyway():
    code = f"import runpy, sys; runpy.run_path({ray_agent.__file__!r}); print('tidemill' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
