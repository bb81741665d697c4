"""What the wrapper makes of a configuration, by the real HAProxy."""

import socket
import subprocess
import time

import httpx
import psutil
import pytest

from tidemill.errors import ServingError
from tidemill.serving.runtime.network import free_port
from tidemill.serving.runtime.private_haproxy import write_wrapper

pytestmark = pytest.mark.engine

# As Ray Serve writes it, where it matters.
CONFIGURATION = """global
    maxconn 10
    log {folder}/log local0 info
defaults
    mode http
    log global
    option httplog
    timeout connect 1s
    timeout client 5s
    timeout server 500ms
    errorfile 502 {folder}/500.http
    errorfile 503 {folder}/500.http
    errorfile 504 {folder}/500.http
frontend prometheus
    bind :{statistics}
    http-request use-service prometheus-exporter
frontend http_frontend
    bind *:{port}
    http-request return status 200 if {{ path /fine }}
    use_backend dead if {{ path /dead }}
    use_backend mute
backend dead
    server one 127.0.0.1:{closed}
backend mute
    server one 127.0.0.1:{mute}
"""


@pytest.fixture
def haproxy(tmp_path):
    port, statistics, closed = free_port(), free_port(), free_port()
    mute = socket.create_server(("127.0.0.1", 0))
    wrapper = write_wrapper(tmp_path, "127.0.0.1", port, 2)
    configuration = tmp_path / "haproxy.cfg"
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    configuration.write_text(
        CONFIGURATION.format(
            folder=tmp_path, port=port, statistics=statistics, closed=closed, mute=mute.getsockname()[1]
        )
    )
    # Its third argument is the configuration, as in the command that Ray Serve runs.
    process = subprocess.Popen([str(wrapper), "-db", "-f", str(configuration)], stderr=subprocess.DEVNULL)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:
        yield client, process, statistics
    process.terminate()
    process.wait(10)
    mute.close()


def ask(client, path):
    deadline = time.monotonic() + 10
    while True:
        try:
            return client.get(path)
        except httpx.ConnectError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_haproxy_answers_itself_is_no_error_of_the_application(haproxy):
    client, _, _ = haproxy
    dead = ask(client, "/dead")
    assert (dead.status_code, dead.headers["retry-after"]) == (503, "1")
    assert dead.json()["detail"] == "no replica takes requests right now: try again"
    mute = client.get("/anything")
    assert (mute.status_code, mute.json()["error"]) == (504, "there was no answer in time")


def test_only_what_goes_wrong_is_logged(haproxy, tmp_path):
    client, _, _ = haproxy
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(10)
        assert ask(client, "/fine").status_code == 200
        client.get("/dead")
        assert b"GET /dead" in log.recv(10_000)


def test_nothing_listens_beyond_loopback(haproxy):
    client, process, statistics = haproxy
    ask(client, "/dead")
    listening = {
        (one.laddr.ip, one.laddr.port)
        for one in psutil.Process(process.pid).net_connections()
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", client.base_url.port), ("127.0.0.1", statistics)}


def test_a_head_that_never_ends_is_cut_off(haproxy):
    client, _, _ = haproxy
    ask(client, "/dead")
    with socket.create_connection(("127.0.0.1", client.base_url.port), timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_haproxy_never_runs_without_what_the_wrapper_mends(tmp_path):
    wrapper = write_wrapper(tmp_path, "127.0.0.1", free_port(), 2)
    missing = subprocess.run(
        [str(wrapper), "-db", "-f", str(tmp_path / "none")], capture_output=True, check=False
    )
    assert missing.returncode == 1
    assert b"none" in missing.stderr


@pytest.mark.parametrize("name", ["a b", "a|b", "a&b", "a'b"])
def test_a_folder_that_would_be_misread_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ServingError, match="HAProxy's files cannot be in") as refused:
        write_wrapper(tmp_path / name, "127.0.0.1", 8000, 2)
    assert "TMPDIR" in refused.value.hint
    assert list((tmp_path / name).iterdir()) == []
