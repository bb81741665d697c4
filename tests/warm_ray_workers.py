"""Has Ray's workers forked from one process that has imported what they need.

Importing that takes trials two seconds, and replicas three; each search of the tests has a worker of its own,
and each stack half a dozen.

Forked workers draw the same numbers for what their threads put into Ray's store, since Ray Tune begins to
draw when it is imported: two workers of Ray Train that read by Ray Data would be given each other's rows.
"""

import fcntl
import hashlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

FOLDER = "TIDEMILL_TEST_WARM_RAY"
"""Environment variable with the folder of the socket on which the process that is forked listens."""
MODULES = (
    "ray._private.workers.default_worker",
    "tidemill.training.search.trial",
    "sklearn.dummy",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
)
SERVING = (
    "ray._private.workers.default_worker",
    "ray.serve._private.controller",
    "ray.serve._private.haproxy",
    "ray.serve._private.proxy",
    "ray.serve._private.replica",
    "tidemill.serving.http.fast_lane",
    "tidemill.serving.runtime.replica.ray_deployment",
    "tidemill.serving.runtime.replica.ray_shortcut",
    "tidemill.serving.runtime.replica.wiring",
)
"""What workers of a stack need."""
SERVING_AND_TRIALS = (*SERVING, *MODULES[1:])
"""What workers of a stack need in which models are trained, too."""
WITH_WARM_WORKERS = {"-m": SERVING, "-m-with-trials": SERVING_AND_TRIALS}
"""This file's first argument, and what the workers of the stack need."""
WORKER = "import runpy, sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
NOT_THE_WORKERS = ("--language=", "--serialized-runtime-env-context=")
"""Arguments for what sets a worker up, of which nothing is left to do: tests give it no environment."""


@contextmanager
def warm_workers(modules: Sequence[str] = MODULES) -> Iterator[None]:
    """Fork the workers of each Ray that the block starts and ends.

    Args:
        modules: what the process that is forked has imported.
    """
    from ray._private.parameter import RayParams

    given = RayParams.__init__
    _warm_commands().listening_at()  # it must not end with Ray

    def init(self: RayParams, *arguments: object, **choices: object) -> None:
        given(self, *arguments, **{**choices, "setup_worker_path": __file__})  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory(prefix="warm-") as folder:  # a socket's path must be short
        Path(folder, "modules").write_text("\n".join(modules))
        os.environ[FOLDER] = folder
        RayParams.__init__ = init  # type: ignore[method-assign]
        try:
            yield
        finally:
            RayParams.__init__ = given  # type: ignore[method-assign]
            del os.environ[FOLDER]
            for place in Path(folder).glob("*.socket"):
                with suppress(ConnectionRefusedError), _wire() as wire:  # it has ended with its stack
                    wire.connect(str(place))
                    wire.send(b"end")


def with_warm_workers(module: str, *, trials: bool = False) -> list[str]:
    """Return the command that does what ``python -m`` does with a module that starts a stack.

    The stack's workers are forked, and so are the programs beside it.

    Args:
        module: with its arguments behind the command.
        trials: whether models are trained in the stack, too.
    """
    _warm_commands().listening_at()  # it must not end with the stack
    return [sys.executable, __file__, "-m-with-trials" if trials else "-m", module]


def _warm_commands() -> Any:
    """Return the module of this name: the checkout is not on the path of stacks and workers."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("warm_commands", Path(__file__).with_name("warm_commands.py"))
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(found := module_from_spec(spec))
    return found


def _fork_companions() -> None:
    """Have the programs beside a stack's API forked, which this process starts."""
    from types import SimpleNamespace

    from tidemill.serving.runtime import child_processes

    warm = _warm_commands()

    def start(command: Sequence[str], **choices: Any) -> "subprocess.Popen[bytes]":
        if command[:2] == [sys.executable, "-m"]:
            command = warm.command(*command[1:])
        return subprocess.Popen(command, **choices)

    names = ("DEVNULL", "STDOUT", "TimeoutExpired")
    vars(child_processes)["subprocess"] = SimpleNamespace(
        Popen=start, **{name: getattr(subprocess, name) for name in names}
    )


def running_workers(name: str) -> "list[psutil.Process]":
    """Return the workers of this process's Ray that do something of this name."""
    import psutil  # not in each worker

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended
            if name in process.name() and process.environ().get(FOLDER) == os.environ[FOLDER]:
                found.append(process)
    return found


def _wire() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _ask(folder: str, arguments: list[str]) -> bool:
    """Have a worker forked in place of this process, which Ray has started; False: of another driver.

    Each Ray of the block has a process of its own that is forked: it is told other things in the
    environment.
    """
    job = os.environ.get("RAY_JOB_ID", "")  # Ray's modules read it when they are imported
    (raylet,) = (one for one in arguments if one.startswith("--raylet-name="))
    place = f"{folder}/{hashlib.sha256(raylet.encode()).hexdigest()[:8]}.socket"
    with Path(f"{place}.job").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if (known := lock.read()) and known != job:
            return False
        if not Path(place).exists():
            lock.write(job)
            with _wire() as listening:
                listening.bind(place)
                listening.listen(100)
                # Not before now: what Ray has told its first worker in the environment is for all of them.
                modules = Path(folder, "modules").read_text().split()
                line = ["-m", "tests.warm_ray_workers", "0", *modules]
                streams, root = (listening.fileno(), 1, 2), str(Path(__file__).parents[1])
                warm = _warm_commands()
                warm.ask(warm.listening_at(), line, streams, root, os.environ, how=b"leave").close()
    what = {
        "code": WORKER,
        "arguments": [one for one in arguments if not one.startswith(NOT_THE_WORKERS)],
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
    }
    with tempfile.TemporaryFile() as file, _wire() as wire:
        file.write(json.dumps(what).encode())
        file.seek(0)
        wire.connect(place)
        socket.send_fds(wire, [b"ask"], [file.fileno(), 1, 2])
    return True


def _serve(listening: socket.socket, modules: Sequence[str]) -> None:
    import gc
    import threading

    from tests.warm_python import become

    gc.disable()  # hardly anything of what is imported is garbage
    for module in modules:
        import_module(module)
    threads = threading.enumerate()
    assert len(threads) == 1, f"{threads}: a process with threads must not be forked"
    gc.freeze()
    gc.enable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
    while True:
        asking, _ = listening.accept()
        said, given, *_ = socket.recv_fds(asking, 100, 3)
        asking.close()
        if said == b"end":
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setpgid(0, 0)  # Ray ends the whole group of a worker that has ended
            listening.close()
            become(*given)
        for each in given:
            os.close(each)


if __name__ == "__main__":
    if sys.argv[1] in WITH_WARM_WORKERS:
        sys.path[0] = str(Path.cwd())
        modules = WITH_WARM_WORKERS[sys.argv[1]]
        module = sys.argv[2]
        del sys.argv[1:3]
        _fork_companions()
        with warm_workers(modules):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    elif sys.argv[1].endswith(".py"):
        if not _ask(os.environ[FOLDER], sys.argv[1:]):
            import ray

            sys.argv[0] = f"{Path(ray.__file__).parent}/_private/workers/setup_worker.py"
            runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
