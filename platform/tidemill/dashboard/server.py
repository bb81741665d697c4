"""The dashboard's process: ``python -m`` with the name of this module; `tidemill up` starts it."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import uvicorn

from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.door.http_connections import HEAD_BYTES, BoundedConnection
from tidemill.dashboard.installation import Installation, expect_project
from tidemill.dashboard.live.cluster_watch import ClusterWatch
from tidemill.dashboard.live.serving_watch import ServingWatch
from tidemill.dashboard.opening import is_open, require_safe_opening
from tidemill.dashboard.server_start import allow_connections, fail_soon, give_way, read_ahead
from tidemill.errors import TidemillError
from tidemill.garbage import collect_rarely
from tidemill.project import load_project
from tidemill.serving.runtime import stack_record
from tidemill.state.store import read_state

__all__ = ["main"]

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    collect_rarely()
    give_way()
    allow_connections()
    fail_soon()
    parser = argparse.ArgumentParser(prog="python -m tidemill.dashboard.server")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mlflow", help="address of MLflow's server (default: the running stack's)")
    parser.add_argument("--api", help="address of the prediction API (default: the running stack's)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(
        logging.WARNING
    )  # it names each request, and there is one every few seconds
    os.chdir(options.project)
    try:
        installation = _installation(options)
        _ = installation.sign_on  # a wrong file is said before anything is served
        expect_project(installation)
        open_here = is_open(installation.home.settings, options.host)
        if not open_here:
            with closing(read_state(installation.home.state_url)) as state:
                require_safe_opening(state, installation.home.settings, options.host)
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    read_ahead()
    app = make_app(
        installation, AccountIdentification(installation, open_here=open_here), local_only=open_here
    )
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        log_level="warning",
        http=BoundedConnection,
        h11_max_incomplete_event_size=HEAD_BYTES,
        ws="none",
        timeout_graceful_shutdown=2,  # pages that listen for changes never hang up by themselves
        server_header=False,
        # Of a proxy, which ends TLS: who is behind it, and that they came by https.
        proxy_headers=not open_here,
        forwarded_allow_ips=installation.home.settings.trusted_proxies,
    )
    return 0


def _installation(options: argparse.Namespace) -> Installation:
    project = load_project(options.project)
    stack = stack_record.status(project)
    watch, cluster = ServingWatch(project.settings.api_key), ClusterWatch(project.settings)
    made = Installation(
        project,
        watch=watch,
        cluster=cluster,
        mlflow_url=options.mlflow or (stack.mlflow_url if stack else None),
        api_url=options.api or (stack.url if stack else None) or None,
    )
    watch.start(lambda: _addresses(made))
    cluster.start()
    return made


def _addresses(installation: Installation) -> dict[str, str]:
    """Return the addresses of the prediction APIs that run on this machine, by model."""
    running = {one.model: stack_record.status_in(one.root) for one in installation.projects()}
    found = {model: stack.url for model, stack in running.items() if stack is not None and stack.url}
    if installation.api_url is not None:
        found.setdefault(installation.home.model, installation.api_url)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
