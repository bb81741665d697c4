"""Which requests go past Ray Serve, and that Ray Serve still offers the way."""

import asyncio
import subprocess
import sys

import pytest

from tidemill.serving.http.fast_lane import FastLaneProtocol
from tidemill.serving.runtime.replica import ray_shortcut


class Front:
    predictions = None

    def takes(self, scope):
        return scope["path"] == "/predict"

    async def __call__(self, scope, receive, send):
        await send("front")


async def ray(scope, receive, send):
    await send("ray")


def way(path):
    said = []

    async def send(message):
        said.append(message)

    [middleware] = ray_shortcut.middlewares()
    app = middleware.cls(ray, *middleware.args, **middleware.kwargs)
    asyncio.run(app({"type": "http", "path": path}, None, send))
    return said


@pytest.fixture
def front(monkeypatch):
    monkeypatch.setattr(ray_shortcut, "_front", None)
    monkeypatch.setattr(FastLaneProtocol, "fast", None)
    assert way("/predict") == ["ray"]  # a proxy, or a replica that is autoscaled
    ray_shortcut.install(Front())


def test_fast_requests_take_it_and_all_others_do_not(front):
    assert way("/predict") == ["front"]
    assert way("/-/healthz") == ["ray"]


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_ray_serve_lets_it_in(monkeypatch):
    from ray.serve._private import http_util
    from ray.serve.config import HTTPOptions

    monkeypatch.setattr(http_util, "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", ray_shortcut.CALLBACK)
    options = http_util.configure_http_middlewares(HTTPOptions())
    outermost = http_util._apply_middlewares(ray, options.middlewares)
    assert isinstance(outermost, ray_shortcut.ShortcutMiddleware)


def test_proxies_that_import_it_import_no_engine():
    engines = "import sys; print(sorted({'feast', 'mlflow', 'pandas', 'sklearn'} & {*sys.modules}))"
    code = f"import {ray_shortcut.__name__}; {engines}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
