"""One real turn of the loop for all tests here, its events sent to a real server; tests work on copies."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.made_once import made_once
from tests.tidemill.lineage.small_world import label, predict, turn_once, watch, write_project
from tidemill.project import Project, load_project
from tidemill.settings import Settings

KEY = "a-key-that-nobody-may-see"


@dataclass
class Collector:
    """What a server on loopback was sent."""

    address: str
    events: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    status: int = 201


@dataclass(frozen=True)
class World:
    """A project that went round once, and what it is made of."""

    root: Path
    revision: str
    run_id: str
    turn_id: str
    alert_id: str
    predictions: tuple[str, ...]
    events: tuple[dict[str, Any], ...]
    keys: frozenset[str]

    def copy(self, to: Path) -> Project:
        return load_project(shutil.copytree(self.root, to), Settings(num_cpus=1))


def serve(collector: Collector) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.events.append({"path": self.path, **json.loads(body)})
            collector.keys.append(self.headers.get("Authorization", ""))
            self.send_response(collector.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    return server


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector("")
    server = serve(found)
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    def make(folder: Path) -> World:
        request.getfixturevalue("ray_of_the_session")
        return _turn_world(folder / "parcels")

    return made_once(tmp_path_factory, "world", make)


def _turn_world(root: Path) -> World:
    collector = Collector("")
    server = serve(collector)
    settings = Settings(num_cpus=1, openlineage_url=collector.address, openlineage_api_key=KEY)
    project = write_project(root, settings)
    turn = turn_once(project)
    server.shutdown()
    server.server_close()
    assert turn.status == "promoted"
    assert turn.run_id
    assert turn.version
    assert turn.data_revision
    ids = tuple(predict(project, turn.version, depot, hour) for depot, hour in (("north", 1), ("south", 2)))
    ids += (predict(project, turn.version, "north", 2, test=True),)
    label(project, ids[0], 1, days=1)
    label(project, ids[0], 0, days=2)  # told otherwise a day later
    alert = watch(project, turn.version)
    return World(
        root, turn.data_revision, turn.run_id, turn.id, alert, ids,
        tuple(collector.events), frozenset(collector.keys),
    )  # fmt: skip
