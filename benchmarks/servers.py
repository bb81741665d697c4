"""Servers on loopback that a benchmark starts and ends: PostgreSQL, and whatever a command line starts."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["free_port", "make_database", "postgres", "process"]


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], port: int, log: Path, **options: Any) -> Iterator[None]:
    """Run a server until the end of the block, from when it listens."""
    with log.open("wb") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        end = time.monotonic() + 300
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if time.monotonic() > end or running.poll() is not None:
                sys.exit(f"{command[0]} does not listen:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run PostgreSQL, without waiting for the disk; give its address without a database."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    binary = shutil.which("postgres") or (str(found[-1]) if found else None)
    if binary is None:
        sys.exit("this needs PostgreSQL (on Debian: apt-get install postgresql)")
    port, data = free_port(), Path(tempfile.mkdtemp(prefix="pg-"))
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(data, "postgres")
        data.parent.chmod(data.parent.stat().st_mode | 0o011)  # that of a benchmark is its own
    initdb = [*user, str(Path(binary).with_name("initdb")), "-D", f"{data}/d", "-U", "tidemill"]
    subprocess.run([*initdb, "--auth=trust"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
    command = [*user, binary, "-D", f"{data}/d", "-p", str(port), *options, "-c", "max_connections=300"]
    try:
        with process(command, port, folder / "postgres.log", cwd="/"):
            time.sleep(1.0)
            yield f"postgresql://tidemill@127.0.0.1:{port}/"
    finally:
        shutil.rmtree(data, ignore_errors=True)


def make_database(server: str, name: str) -> None:
    """Make an empty database."""
    with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
