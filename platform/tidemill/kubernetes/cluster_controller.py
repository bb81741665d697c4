"""The controller's loop in a pod that leads; `tidemill.kubernetes.elected_controller` starts it."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tidemill.errors import ConfigError, TidemillError
from tidemill.garbage import collect_rarely
from tidemill.kubernetes.cluster_api import ClusterApi, find_place
from tidemill.kubernetes.elected_controller import end_with_owner
from tidemill.kubernetes.ray_jobs.cluster_jobs import ClusterJobs
from tidemill.kubernetes.ray_jobs.cluster_scoring import ClusterScoring
from tidemill.kubernetes.ray_jobs.cluster_turns import ClusterTurns
from tidemill.kubernetes.ray_jobs.ray_job_manifest import read_template, shared_cluster
from tidemill.project import Project, load_project
from tidemill.retraining.controller import Elsewhere, run_forever
from tidemill.threads import BackgroundThread

__all__ = ["elsewhere"]

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run rounds until SIGTERM."""
    collect_rarely()
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.cluster_controller")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=60.0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    BackgroundThread("owner", end_with_owner).start()
    try:
        project = load_project(options.project)
        run_forever(project, timedelta(seconds=options.interval), stop, elsewhere(project))
    except TidemillError as error:
        _log.error("%s%s", error, f" ({error.hint})" if error.hint else "")
        return 1
    return 0


def elsewhere(project: Project) -> Elsewhere:
    """Return who makes turns and scores, as ``kubernetes`` in ``params.yaml`` says, and who runs monitors.

    Raises:
        ConfigError: RayJobs are asked for, and there is no API, no template, or no cluster to share.
    """
    config, monitors = project.config.kubernetes, project.settings.monitors_elsewhere
    if config.turns == config.scoring == "local":
        return Elsewhere(monitors=monitors)
    place, template = find_place(project.settings), project.settings.ray_job
    if place is None or template is None:
        raise ConfigError(
            "kubernetes.turns or kubernetes.scoring in params.yaml asks for RayJobs: not possible here",
            hint="set rayJobs.enabled in the chart's values, or use local",
        )
    if "cluster" in (config.turns, config.scoring):
        shared_cluster(read_template(Path(template)), config)
    jobs = ClusterJobs(ClusterApi(place), Path(template), config)
    return Elsewhere(
        None if config.turns == "local" else ClusterTurns(jobs, shared=config.turns == "cluster"),
        None if config.scoring == "local" else ClusterScoring(jobs, shared=config.scoring == "cluster"),
        monitors,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
