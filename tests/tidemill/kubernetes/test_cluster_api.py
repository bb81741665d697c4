"""What our client makes of answers of Kubernetes' API, against kmock."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.tidemill.kubernetes.api_server import NAMESPACE, ApiServer, away, later
from tidemill.errors import ClusterError
from tidemill.kubernetes.cluster_api import RAY_JOBS, ApiPlace, ClusterApi, find_place
from tidemill.settings import Settings


def test_a_pod_finds_the_api_of_its_cluster(tmp_path: Path):
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert find_place(Settings(), pod, tmp_path) is None, "no token is mounted"
    (tmp_path / "token").write_text("t0\n")
    (tmp_path / "namespace").write_text("models\n")
    found = find_place(Settings(), pod, tmp_path)
    assert found == ApiPlace("https://[fd00::1]:6443", "models", tmp_path / "token", tmp_path / "ca.crt")
    assert find_place(Settings(), {}, tmp_path) is None


def test_the_token_is_read_anew_as_kubernetes_replaces_it(server: ApiServer, tmp_path: Path):
    token = tmp_path / "token"
    api = server.client(token)
    for text in ("first", "second"):
        token.write_text(f"{text}\n")
        api.get(RAY_JOBS, "none")
    assert [one.headers["Authorization"] for one in server][-2:] == ["Bearer first", "Bearer second"]
    token.unlink()
    with pytest.raises(ClusterError, match="token"):
        api.get(RAY_JOBS, "none")


def test_what_a_busy_server_refused_is_sent_again_when_it_says(server: ApiServer):
    slept: list[float] = []
    api = server.client(sleep=slept.append)
    server.refusals += [later(3), later(0)]
    assert api.create(RAY_JOBS, {"metadata": {"name": "busy"}}) is not None
    assert slept == [3.0, 0.2], "never at once"
    server.refusals.append(later(3))
    with pytest.raises(ClusterError, match=r"answers 429 to GET .*try again later"):
        api.get(RAY_JOBS, "busy", seconds=2.0)
    assert len(slept) == 2, "it does not wait beyond its time"


def test_what_is_there_gone_or_changed_is_no_error(api: ClusterApi):
    made = api.create(RAY_JOBS, {"metadata": {"name": "one", "labels": {"a": "1", "b": "2"}}, "spec": {}})
    assert made is not None
    assert api.create(RAY_JOBS, {"metadata": {"name": "one"}}) is None
    assert api.replace(RAY_JOBS, "one", {**made, "spec": {"suspend": True}}) is not None
    assert api.replace(RAY_JOBS, "one", {**made, "spec": {}}) is None, "of a stale version"
    assert [one["metadata"]["name"] for one in api.list(RAY_JOBS, {"a": "1", "b": "2"})] == ["one"]
    assert api.list(RAY_JOBS, {"a": "2"}) == []
    assert (api.delete(RAY_JOBS, "one"), api.delete(RAY_JOBS, "one")) == (True, False)
    assert api.get(RAY_JOBS, "one") is None


def test_an_api_that_refuses_or_is_away_is_told_with_what_to_do(server: ApiServer, api: ClusterApi):
    server.refusals.append(away)
    with pytest.raises(ClusterError, match=r"answers 500 to GET .*etcd has no leader"):
        api.get(RAY_JOBS, "one")
    gone = ClusterApi(ApiPlace(f"http://127.0.0.1:{free_port()}", NAMESPACE))
    with closing(gone), pytest.raises(ClusterError, match="does not answer"):
        gone.get(RAY_JOBS, "one")
