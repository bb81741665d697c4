"""What serving takes of Ray, Ray Serve's HAProxy and uvicorn beyond what they promise is there."""

import importlib
import inspect
import re

import pytest

from tidemill.serving.http import private_uvicorn
from tidemill.serving.runtime import private_haproxy, private_ray

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


def resolved(path):
    """Return what a dotted path names."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise ImportError(path)


@pytest.mark.parametrize(
    ("path", "why"), [*private_ray.NAMES, *private_haproxy.NAMES, *private_uvicorn.NAMES]
)
def test_the_private_name_is_there(path, why):
    assert resolved(path) is not None, f"{path} {why}"


@pytest.mark.parametrize(("pattern", "why"), private_haproxy.LINES)
def test_the_line_of_haproxys_configuration_is_there(pattern, why):
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

    assert re.search(pattern, HAPROXY_CONFIG_TEMPLATE, re.MULTILINE), f"{pattern} {why}"


def test_ray_serve_reads_every_variable_that_a_stack_sets(served_template, tmp_path):
    from ray.serve._private import constants

    from tidemill.project import load_project
    from tidemill.serving.runtime.ray_cluster import _serve_variables

    set_here = _serve_variables(load_project(served_template), tmp_path, "127.0.0.1", 8000)
    source = inspect.getsource(constants)
    unread = [name for name in set_here if name.startswith("RAY_SERVE_") and f'"{name}"' not in source]
    assert unread == []


def test_the_consumer_of_messages_keeps_its_thread_where_it_is_looked_for():
    from ray.serve import task_consumer, task_processor

    assert "self._worker_thread" in inspect.getsource(task_processor.CeleryTaskProcessorAdapter)
    assert "self._adapter" in inspect.getsource(task_consumer)


def test_a_connection_of_uvicorn_has_what_is_looked_at():
    import asyncio

    import uvicorn
    from uvicorn.server import ServerState

    async def looked_at():
        config = uvicorn.Config(lambda: None, lifespan="off", log_config=None, access_log=False)
        config.load()
        protocol = private_uvicorn.HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
        protocol.on_message_begin()
        return [name for name, _ in private_uvicorn.ATTRIBUTES if not hasattr(protocol, name)]

    assert asyncio.run(looked_at()) == []
