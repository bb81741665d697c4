"""Runs Python code in processes forked from one that has imported the engines: starting one takes seconds.

For tests that need a process of their own, such as one that is killed, and not the start of Python itself.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.warm_commands import ask, listening_at, status_of

ENGINES = (
    "tidemill.cli.main",
    "tidemill.data.versioning.data_versions",
    "tidemill.data.versioning.add",
    "tidemill.quickstart.new_project",
    "tidemill.registry.deployments",
    "tidemill.registry.promotion",
    "tidemill.rollouts.rollout",
    "tidemill.state.store",
    "tidemill.training.compiling.onnx_session",
    "tidemill.training.tracking.mlflow_tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)
COMMAND = "from tidemill.cli.main import main; main()"
"""What the script ``tidemill`` does."""


def run_warm(
    code: str,
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    modules: Sequence[str] = ENGINES,
) -> subprocess.CompletedProcess[str]:
    """Do what ``subprocess.run([sys.executable, "-c", code, *arguments])`` does, and return its output.

    Args:
        code: what runs in the forked process.
        arguments: of ``sys.argv``.
        cwd: its working folder; None: this process's.
        env: all its environment variables; None: this process's.
        modules: what the process that is forked has imported.
    """
    given = [str(one) for one in arguments]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        where, variables = str(cwd or Path.cwd()), dict(env or os.environ)
        if tuple(modules) == ENGINES:
            streams = (0, out.fileno(), error.fileno())
            with ask(listening_at(), ["-c", code, *given], streams, where, variables) as wire:
                status = status_of(wire)
        else:
            what = {"code": code, "arguments": given, "cwd": where, "env": variables}
            told = _server(tuple(modules), os.getpid()).ask(what, [out.fileno(), error.fileno()])
            status = os.waitstatus_to_exitcode(told)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(given, status, *texts)


class _Server:
    def __init__(self, modules: Sequence[str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.warm_python", str(theirs.fileno()), *modules]
        # It outlives the test that starts it, which may look for what it has left.
        env = {name: value for name, value in os.environ.items() if name != "TIDEMILL_TEST_MARK"}
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=root, env=env, pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self.stop)

    def ask(self, what: Mapping[str, object], streams: Sequence[int]) -> int:
        with tempfile.TemporaryFile() as file:  # longer than a packet may be
            file.write(json.dumps(what).encode())
            file.seek(0)
            socket.send_fds(self._ours, [b"ask"], [file.fileno(), *streams])
            told = self._ours.recv(100)
        assert told, "the warm process has ended"
        return int(told)

    def stop(self) -> None:
        self._ours.close()
        self._process.wait(10)


@functools.cache
def _server(modules: tuple[str, ...], _process: int) -> _Server:
    return _Server(modules)


def _serve(wire: socket.socket, modules: Sequence[str]) -> None:
    gc.disable()  # hardly anything of what is imported is garbage
    for module in modules:
        importlib.import_module(module)
    threads = threading.enumerate()  # besides those of libraries' allocators
    assert len(threads) == 1, f"{threads}: a process with threads must not be forked"
    gc.freeze()
    gc.enable()
    while True:
        said, given, *_ = socket.recv_fds(wire, 100, 3)
        if not said:
            return
        child = os.fork()
        if child == 0:
            wire.close()
            become(*given)
        for each in given:
            os.close(each)
        _, status = os.waitpid(child, 0)
        wire.send(str(status).encode())


def become(asked: int, out: int, error: int) -> NoReturn:
    """Become the process that was asked for in a file."""
    with open(asked) as file:
        run_as(json.load(file), out, error)


def run_as(what: Mapping[str, Any], out: int, error: int) -> NoReturn:
    """Become the process that was asked for."""
    os.environ.clear()
    os.environ.update(what["env"])
    os.chdir(what["cwd"])
    for stream, number in ((out, 1), (error, 2)):
        os.dup2(stream, number)
        os.close(stream)
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv, sys.path[0] = [what.get("name", "-c"), *what["arguments"]], ""
    code = compile(what["code"], "<string>", "exec")
    end_after(lambda: exec(code, {"__name__": "__main__"}))


def end_after(run: Callable[[], object]) -> NoReturn:
    """Call it, and end this process as Python does, without freeing what was imported."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - as Python's own end
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as the command line does; it starts a thread
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
