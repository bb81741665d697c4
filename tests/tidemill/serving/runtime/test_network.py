"""Ports: free ones are free, taken ones are named."""

import socket

import pytest

from tidemill.errors import PortTaken
from tidemill.serving.runtime.network import free_block, free_port, require_port


def test_a_free_port_can_be_listened_on():
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert client.getpeername()[1] == port


def test_a_block_has_no_taken_port_in_it():
    with socket.socket() as server:
        first = free_block(10)
        server.bind(("127.0.0.1", first + 5))
        server.listen()
        for _ in range(20):
            other = free_block(10)
            assert not other <= first + 5 < other + 10


@pytest.mark.parametrize("interface", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_named_with_the_setting_that_asked_for_it(interface):
    with socket.socket() as server:
        server.bind((interface, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)) as refused:
            require_port(port, "127.0.0.1", "--port", "TIDEMILL_SERVE_PORT")
        assert "by --port or TIDEMILL_SERVE_PORT" in refused.value.hint


def test_zero_takes_a_free_one():
    assert require_port(0, "127.0.0.1", "--x", "X") > 0


def test_a_preferred_port_is_taken_if_it_is_free():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        holder.listen()
        assert free_port(preferred=port) != port
    assert free_port(preferred=port) == port
