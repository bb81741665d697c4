"""One server of Kubernetes' API for the tests of a module; each test names its objects differently."""

from collections.abc import Iterator

import pytest

from tests.tidemill.kubernetes.api_server import ApiServer, serve_api
from tidemill.kubernetes.cluster_api import ClusterApi


@pytest.fixture(scope="module")
def the_server() -> Iterator[ApiServer]:
    with serve_api() as server:
        yield server


@pytest.fixture
def server(the_server: ApiServer) -> Iterator[ApiServer]:
    the_server.asked.clear()
    the_server.refusals.clear()
    yield the_server
    while the_server.clients:
        the_server.clients.pop().close()


@pytest.fixture
def api(server: ApiServer) -> ClusterApi:
    return server.client()
