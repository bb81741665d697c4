"""Runs the servers that `benchmarks.serving` compares, each in its simplest form and its own process.

    python -m benchmarks.rivals NAME WORKSPACE PORT

Every one listens on loopback and ends with SIGTERM. BentoML lives in an environment of its own (its pins do
not go together with ours): `bento_environment` makes it once.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

__all__ = ["SERVERS", "bento_environment", "command", "model_folder"]

SERVERS = ("uvicorn echo", "ray echo", "mlflow", "ray default", "bentoml")
_BENTO = """
import bentoml
import numpy as np
import pandas as pd
import skops.io


@bentoml.service(traffic={{"timeout": 60}})
class Flights:
    def __init__(self):
        path = {path!r}
        self.model = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        self.columns = list(self.model.feature_names_in_)

    @bentoml.api
    def predict(self, rows: list[list[float | None]]) -> list[float]:
        frame = pd.DataFrame(np.array(rows, dtype=np.float64), columns=self.columns)
        return self.model.predict_proba(frame)[:, 1].tolist()
"""
Message = MutableMapping[str, Any]


async def echo(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer with the body of the request: the least that an ASGI application can do."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def model_folder(workspace: Path) -> Path:
    """Return where the champion's files are on this disk."""
    from urllib.parse import unquote, urlparse

    from tidemill.project import load_project
    from tidemill.training.tracking.mlflow_tracking import connect

    project = load_project(workspace)
    client = connect(project)
    version = client.get_model_version_by_alias(project.model, "champion").version
    return Path(unquote(urlparse(client.get_model_version_download_uri(project.model, version)).path))


def bento_environment(folder: Path) -> tuple[Path | None, str]:
    """Return the Python of an environment with BentoML in ``folder``, made if need be; or none, and why."""
    from importlib.metadata import version

    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        wanted = [f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy", "pandas")]
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "bentoml", *wanted],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1]
        (folder / ".complete").touch()
    return python, ""


def command(name: str, workspace: Path, port: int, bento: Path | None) -> list[str]:
    """Return the command line of a server."""
    if name == "mlflow":
        serve = ["models", "serve", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "mlflow", *serve, "--model-uri", str(model_folder(workspace))]
    if name == "bentoml":
        service = workspace / "bento_flights.py"
        service.write_text(_BENTO.format(path=str(model_folder(workspace) / "model.skops")))
        options = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(workspace)]
        return [str(bento), "-m", "bentoml", "serve", "bento_flights:Flights", *options]
    return [sys.executable, "-m", "benchmarks.rivals", name, str(workspace), str(port)]


def _uvicorn(port: int) -> None:
    import uvicorn

    uvicorn.run(echo, host="127.0.0.1", port=port, access_log=False, log_level="error", lifespan="off")


def _ray(application: Callable[[], Any], workspace: Path, port: int, haproxy: bool) -> None:
    from tidemill.project import load_project
    from tidemill.serving.runtime import ray_cluster
    from tidemill.training.private_ray_settings import read_environment

    folder = Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    variables = ray_cluster._serve_variables(load_project(workspace), folder, "127.0.0.1", port)
    variables.pop("RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH")  # our way past Ray Serve is none of theirs
    if not haproxy:
        variables = {name: value for name, value in variables.items() if "HA_PROXY" not in name}
        variables.pop("RAY_SERVE_THROUGHPUT_OPTIMIZED")  # as it comes
    os.environ.update(variables)
    read_environment()
    import ray

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(folder / "ray"),
    )
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
    serve.run(application(), logging_config=LoggingConfig(enable_access_log=False))
    asyncio.run(asyncio.Event().wait())


def _ray_echo() -> Any:
    from ray import serve

    class Application:  # a function would be taken for one that makes an application
        async def __call__(
            self,
            scope: Message,
            receive: Callable[[], Awaitable[Message]],
            send: Callable[[Message], Awaitable[None]],
        ) -> None:
            await echo(scope, receive, send)

    @serve.deployment(num_replicas=1, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
    @serve.ingress(Application())
    class Echo:
        pass

    return Echo.bind()  # type: ignore[attr-defined]


def _ray_obvious(workspace: Path) -> Any:
    import datetime
    import json

    from fastapi import FastAPI
    from pydantic import BaseModel
    from ray import serve

    api = FastAPI()

    class Flight(BaseModel):
        carrier: str
        origin: str
        dest: str
        tailnum: str | None = None
        scheduled_departure: datetime.datetime

    class Flights(BaseModel):
        instances: list[Flight]
        at: datetime.datetime

    model_path = str(model_folder(workspace))

    @serve.deployment(num_replicas=1, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
    @serve.ingress(api)
    class Obvious:
        def __init__(self) -> None:
            sys.path.insert(0, str(workspace))
            import mlflow.sklearn
            from feast import FeatureStore

            os.environ["OMP_NUM_THREADS"] = "1"
            self.store = FeatureStore(str(workspace / "feature_repo"))
            self.service = self.store.get_feature_service("flight_delay")
            self.model = mlflow.sklearn.load_model(model_path)
            self.log = (workspace / "obvious.ndjson").open("a")

        @api.post("/predict")
        def predict(self, body: Flights) -> dict[str, Any]:
            import pandas as pd

            rows = [flight.model_dump() for flight in body.instances]
            found = self.store.get_online_features(self.service, rows).to_dict()
            columns = list(self.model.feature_names_in_)
            frame = pd.DataFrame({name: found[name] for name in columns}, dtype="float64")
            scores = self.model.predict_proba(frame)[:, 1].tolist()
            for row, score in zip(rows, scores, strict=True):
                self.log.write(json.dumps({"row": row, "score": score}, default=str) + "\n")
            self.log.flush()
            return {"predictions": [{"probability": score} for score in scores]}

    return Obvious.bind()  # type: ignore[attr-defined]


def main(name: str, workspace: str, port: str) -> None:
    """Run one server until it is told to end."""
    match name:
        case "uvicorn echo":
            _uvicorn(int(port))
        case "ray echo":
            _ray(_ray_echo, Path(workspace), int(port), haproxy=True)
        case "ray default":
            _ray(lambda: _ray_obvious(Path(workspace)), Path(workspace), int(port), haproxy=False)
        case _:
            raise SystemExit(f"no server is called {name!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
