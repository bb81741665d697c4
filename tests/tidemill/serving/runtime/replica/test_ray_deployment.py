"""Which replicas take the fast lane."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from tidemill.project.serve_config import AutoscalingConfig, ServeConfig
from tidemill.serving.runtime.replica import ray_deployment, ray_shortcut


@pytest.mark.parametrize(
    ("serve", "taken"),
    [
        (ServeConfig(), True),
        (ServeConfig(fast_lane=False), False),
        (ServeConfig(autoscaling=AutoscalingConfig(max=2)), False),
    ],
)
def test_the_fast_lane_is_taken_unless_it_is_turned_off_or_ray_serve_must_count(monkeypatch, serve, taken):
    wiring = ModuleType("tidemill.serving.runtime.replica.wiring")
    wiring.build_api = lambda project, name: "front"
    monkeypatch.setitem(sys.modules, wiring.__name__, wiring)
    monkeypatch.setattr(ray_deployment, "_spare_the_collector", lambda: None)
    used = []
    monkeypatch.setattr(ray_shortcut, "install", used.append)
    replica = object.__new__(ray_deployment.Replica)
    replica._project = SimpleNamespace(config=SimpleNamespace(serve=serve))
    replica._name = "r1"
    assert replica.__serve_build_asgi_app__() == "front"
    assert used == (["front"] if taken else [])
