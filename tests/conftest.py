"""Real servers for tests, on loopback; what this machine lacks skips its tests, and says so."""

import contextlib
import functools
import linecache
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest

from tests import warm_commands
from tests.compiled_once import share_answers, share_statements, share_versions
from tests.ready_tables import copy_tables
from tests.shared_bytecode import compile_part
from tests.warm_dvc import fork_dvc
from tests.warm_ray_workers import warm_workers
from tidemill.garbage import collect_rarely
from tidemill.orphan_reaper import MARK, OrphanReaper

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("untimed")

collect_rarely()  # with all engines, there are two million objects to look through

# Before any engine is imported: on few cores threads of OpenMP mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

os.environ.pop("COLUMNS", None)  # a worker of pytest-xdist has it, and whatever makes a console then keeps it

_checkcache = linecache.checkcache


def checkcache(filename: str | None = None) -> None:
    """Python 3.11's, which raises KeyError where another thread forgets a file (a traceback does)."""
    with contextlib.suppress(KeyError):
        _checkcache(filename)


linecache.checkcache = checkcache


# Each call of httpx.get reads the certificates anew, 20 ms, though tests ask only this machine.
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)

share_statements()
share_versions()
fork_dvc()

_guards: list[OrphanReaper] = []


def pytest_configure(config: pytest.Config) -> None:
    """End what tests start when they end, however they end; processes that left their group too.

    A worker of pytest-xdist compiles its part of the files.
    """
    if (worker := getattr(config, "workerinput", None)) is not None:
        number = int(worker["workerid"].removeprefix("gw"))
        compile_part(config, config.rootpath, number, worker["workercount"])
    elif MARK not in os.environ:
        folder = tempfile.mkdtemp(prefix="tests-")
        _guards.append(OrphanReaper.start(Path(folder)))
        os.environ[MARK] = _guards[0].mark
        os.environ[warm_commands.FOLDER] = folder


def pytest_unconfigure() -> None:
    """End what is left over, on which the tests of each server have had their say."""
    while _guards:
        _guards.pop().stop()


def pytest_fixture_setup() -> None:
    """Before whatever may make tables or routes: which modules are imported by then differs."""
    copy_tables()
    share_answers()


def pytest_runtest_call() -> None:
    """As before each fixture; a console keeps the width that it was made with, and each test has its own."""
    copy_tables()
    share_answers()
    if (output := sys.modules.get("tidemill.cli.output")) is not None:
        for console in ("out_console", "errors_console"):
            getattr(output, console).cache_clear()


_WITH_REPORTS = (
    "tests/examples/test_examples.py",
    "tests/tidemill/monitoring/reports/test_evidently_report.py",
    "tests/tidemill/monitoring/test_monitor.py",
    "tests/tidemill/test_private_names.py",
)
"""Evidently takes each process that makes reports two seconds to import."""


def _files_with(text: str, root: Path) -> list[str]:
    files = [file for file in (root / "tests").rglob("test_*.py") if text in file.read_text()]
    return [file.relative_to(root).as_posix() for file in files]


@functools.cache
def _rooms_with_servers(root: Path) -> dict[str, str]:
    """Return the files whose tests start real servers, and the room that each belongs to."""
    names = _files_with("mark.e2e", root)
    assert names, "no test that starts servers was found: those of a room would run beside each other"
    return {
        name: "/".join(name.split("/")[: 3 if name.startswith("tests/tidemill/") else 2]) for name in names
    }


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that start servers: they take longest, and mostly wait."""
    if unsteady := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give ids to the parameters of {unsteady[0]}: each process has another name")
    first = _rooms_with_servers(config.rootpath)
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in first)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """For ``--dist loadfile``: a file at a time to each worker, but all servers of a room to one of them.

    All files whose tests read the library's source go to one, too, and those whose tests make reports.
    """
    if config.option.dist != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    source = "tests.tidemill.library_source"
    rooms = {
        **dict.fromkeys(_files_with(source, config.rootpath), source),
        **dict.fromkeys(_WITH_REPORTS, "evidently"),
        **_rooms_with_servers(config.rootpath),
    }

    class ServersInTurn(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return rooms.get(file, file)

    return ServersInTurn(config, log)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port} after {seconds} s")


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis: ``host:port``, empty, ended with the session."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("needs redis-server (on Debian: apt-get install redis-server)")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([binary, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)


def wait_for_database(address: str, seconds: float = 30) -> None:
    """PostgreSQL listens before it lets anybody in."""
    import psycopg

    end = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(f"{address}/postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL: its address without a database, ended with the session."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    binary = shutil.which("postgres") or (str(found[-1]) if found else None)
    if binary is None:
        pytest.skip("needs postgres (on Debian: apt-get install postgresql)")
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pg-"))  # its socket's path must be short
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to be root
    if user:
        shutil.chown(folder, "postgres")
    initdb = [*user, str(Path(binary).with_name("initdb")), "-D", f"{folder}/data", "-U", "tidemill"]
    subprocess.run([*initdb, "--auth=trust", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [*user, binary, "-D", f"{folder}/data", "-p", str(port), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        wait_for_port(port, process)
        address = f"postgresql://tidemill@127.0.0.1:{port}"
        wait_for_database(address)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_address: str) -> str:
    """A new and empty database."""
    import psycopg

    name = f"test_{os.urandom(6).hex()}"
    with psycopg.connect(f"{postgres_address}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_address}/{name}"


@pytest.fixture(params=["sqlite", "postgres"])
def any_state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where records may be: each test that asks for it runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def any_records(any_state_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the records of this test's projects are, and those of its child processes: on both."""
    monkeypatch.setenv("TIDEMILL_STATE_URL", any_state_url)
    return any_state_url


@pytest.fixture(scope="session")
def ray_of_the_session() -> Iterator[None]:
    """One Ray for whatever trains or scores in this process: each of its own takes 5 s of CPU."""
    import ray

    from tidemill.training.private_ray_settings import needed_processes_only

    with warm_workers():
        with needed_processes_only():
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _system_config={"prestart_worker_first_driver": False},
            )
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Moto's S3 server, which speaks S3's protocol over HTTP: its address, ended with the session."""
    port = free_port()
    log = Path(tmp_path_factory.mktemp("s3")) / "server.log"
    with log.open("wb") as out:
        command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=10)
