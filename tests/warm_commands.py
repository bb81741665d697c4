"""Runs commands of Python in processes forked from one that has imported the engines: one for all tests.

`command` returns a command line. It is this file run as a script, which starts in hundredths of a second. It
has the process forked, hands it its streams and environment, passes signals on, and ends as the fork does.
Where it is killed, the fork is, too.
"""

import array
import functools
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

FOLDER = "TIDEMILL_TEST_WARM"
"""Environment variable with the folder of the socket, which ends with the tests."""
MODULES = (
    "uvicorn",  # first: MLflow's server minds where it finds others
    "tidemill.dashboard.server",
    "tidemill.retraining.by_hand.acts_by_hand",
    "tidemill.replay.replay_run",
    "tidemill.monitoring.reports.evidently_report",
    "tidemill.training.fitting.packaging",
    "tidemill.serving.runtime.tracking_server",
    "tidemill.features.registration",
    "tidemill.features.offline.offline_store",
    "tidemill.stages.ingest",
    "tidemill.stages.training_set",
    "tidemill.stages.validate",
    "sklearn.compose",
    "sklearn.datasets",
    "skops.io",
    "tests.warm_path",
    "tests.warm_ray_workers",
)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def command(*arguments: object) -> list[str]:
    """Return the command that does ``python``: ``-m MODULE …``, ``-c CODE …``, ``-`` or a FILE."""
    return [sys.executable, "-S", "-E", __file__, listening_at(), *map(str, arguments)]


@functools.cache
def listening_at(name: str = "commands", module: str = "tests.warm_commands") -> str:
    """Return the path of the socket on which a process that is forked listens; start it if none does.

    Args:
        name: of the socket.
        module: what the process runs; it is given the number of the socket.
    """
    import fcntl
    import subprocess
    import tempfile
    from pathlib import Path

    folder = os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="tests-")
    os.environ[FOLDER] = folder  # also for what is started from here
    path = f"{folder}/{name}"
    with Path(f"{path}.lock").open("w") as lock, socket.socket(*_WIRE) as listening:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not Path(path).exists():
            listening.bind(path)
            listening.listen(100)
            # It outlives the test that starts it, which may look for what it has left.
            env = {name: value for name, value in os.environ.items() if name != "TIDEMILL_TEST_MARK"}
            env["ROOM"] = "-" * 5000  # for the variables of what is forked
            with Path(f"{path}.log").open("w") as log:  # who waits for the end of our streams must not wait
                process = subprocess.Popen(
                    [sys.executable, "-m", module, str(listening.fileno())],
                    cwd=Path(__file__).parents[1],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,
                )
            process.returncode = 0  # nobody waits for it
    return path


_WIRE = (socket.AF_UNIX, socket.SOCK_SEQPACKET)


def ask(
    path: str,
    arguments: Sequence[str],
    streams: Sequence[int],
    cwd: str,
    env: Mapping[str, str],
    *,
    how: bytes = b"ask",
) -> socket.socket:
    """Have a process forked that does what ``python`` does with arguments; return what tells of its end.

    Args:
        path: of the socket.
        arguments: ``-m MODULE …`` or ``-c CODE …``.
        streams: numbers of the files that are its input, output and errors.
        cwd: its working folder.
        env: all its environment variables.
        how: ``leave`` has it outlive this process.
    """
    wire = socket.socket(*_WIRE)
    wire.connect(path)
    file = os.memfd_create("asked")  # longer than a packet may be
    what = {"arguments": list(arguments), "cwd": cwd, "env": dict(env)}
    os.write(file, json.dumps(what).encode())
    os.lseek(file, 0, os.SEEK_SET)
    given = array.array("i", [file, *streams])
    wire.sendmsg([how], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])
    os.close(file)
    return wire


def status_of(wire: socket.socket) -> int:
    """Wait until a process has ended; return its exit code, or the negative number of its signal."""
    told = wire.recv(100)
    assert told, "the process that is forked has ended"
    return os.waitstatus_to_exitcode(int(told))


def _relay(path: str, arguments: Sequence[str]) -> int:
    """Be the command: return the exit code, or end by the signal by which the fork ended."""
    wire = ask(path, arguments, (0, 1, 2), os.getcwd(), os.environ)  # noqa: PTH109 - pathlib takes longer
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: wire.send(str(int(number)).encode()))
    code = status_of(wire)
    if code < 0:
        if -code in _SIGNALS:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


class _Server:
    """Forks, tells those who asked how their process ended, and kills it when they end."""

    def __init__(self, listening: socket.socket) -> None:
        import selectors

        self._listening, self._selector = listening, selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ, self._fork)

    def serve(self) -> None:
        """Serve until this process is killed at the end of the tests, as all that has their mark."""
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _fork(self) -> None:
        import selectors
        from functools import partial

        wire, _ = self._listening.accept()
        said, given, *_ = socket.recv_fds(wire, 100, 4)
        if not said:  # it has been killed
            wire.close()
            return
        child = os.fork()
        if child == 0:
            self._selector.close()
            for key in (wire, self._listening):
                key.close()
            _become(*given)
        for each in given:
            os.close(each)
        end = os.pidfd_open(child)
        self._selector.register(end, selectors.EVENT_READ, partial(self._ended, child, end, wire))
        if said != b"leave":
            self._selector.register(wire, selectors.EVENT_READ, partial(self._told, child, wire))

    def _told(self, child: int, wire: socket.socket) -> None:
        if wire.fileno() == -1:  # it has ended at the same time
            return
        number = wire.recv(100)
        if not number:
            self._selector.unregister(wire)
        os.kill(child, int(number or signal.SIGKILL))

    def _ended(self, child: int, end: int, wire: socket.socket) -> None:
        from contextlib import suppress

        _, status = os.waitpid(child, 0)
        self._selector.unregister(end)
        os.close(end)
        with suppress(KeyError):  # who asked has ended before
            self._selector.unregister(wire)
        with suppress(BrokenPipeError):
            wire.send(str(status).encode())
        wire.close()


def _become(asked: int, *streams: int) -> None:
    from tests.warm_python import run_as

    os.setsid()
    with open(asked) as file:
        what = json.load(file)
    _show_environment(what["env"])
    os.dup2(streams[0], 0)
    os.close(streams[0])
    kind, *arguments = what["arguments"]
    if kind == "-m":
        code = RUN_MODULE
    elif kind == "-c":
        code = arguments.pop(0)
    elif kind == "-":
        code = sys.stdin.read()
        what["name"] = kind
    else:
        code, arguments = RUN_FILE, [kind, *arguments]
    run_as({**what, "code": code, "arguments": arguments}, *streams[1:])


def _show_environment(variables: Mapping[str, str]) -> None:
    """Let /proc tell the variables, by which what is left over is found: it tells the parent's."""
    import ctypes
    from pathlib import Path

    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    marks_first = sorted(variables.items(), key=lambda one: "MARK" not in one[0])
    text = b"\0".join(os.fsencode(f"{name}={value}") for name, value in marks_first)[: end - begin - 1]
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text, len(text))


RUN_MODULE = """
import os, runpy, sys
sys.path[0] = os.getcwd()
del sys.argv[0]
sys.modules.pop(sys.argv[0], None)
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
RUN_FILE = """
import os, runpy, sys
del sys.argv[0]
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _main(number: int) -> None:
    import gc
    import threading
    from importlib import import_module

    from tests.ready_tables import copy_tables, make_templates
    from tests.warm_dvc import fork_dvc
    from tests.warm_python import ENGINES

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as the command line does; it starts a thread
    gc.disable()  # hardly anything of what is imported is garbage
    for module in (*MODULES, *ENGINES):
        import_module(module)
    copy_tables()
    make_templates()
    fork_dvc()
    threads = threading.enumerate()
    assert len(threads) == 1, f"{threads}: a process with threads must not be forked"
    gc.freeze()
    gc.enable()
    _Server(socket.socket(fileno=number)).serve()


if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        _main(int(sys.argv[1]))
    else:
        sys.exit(_relay(sys.argv[1], sys.argv[2:]))
