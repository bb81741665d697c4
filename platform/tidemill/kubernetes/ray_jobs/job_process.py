"""What a RayJob runs on its cluster's head: ``python -m`` with the name of this module.

Its log goes to Ray and into the project's logs, where it is read when the cluster has gone.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tidemill.project import Project, load_project
from tidemill.state import open_state

__all__: list[str] = []

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code. Not 0: KubeRay may try again."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.ray_jobs.job_process")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--name", required=True, help="name of the RayJob")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("turn").add_argument("turn")
    score = kinds.add_parser("score")
    for name in ("schedule", "slot", "at"):
        score.add_argument(name)
    options = parser.parse_args(arguments)
    if "RAY_ADDRESS" in os.environ:  # Ray's own, of the job: training is to use that cluster
        os.environ.setdefault("TIDEMILL_RAY_ADDRESS", os.environ["RAY_ADDRESS"])
    project = load_project(options.project)
    project.logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(project.logs / f"job-{options.name}.log")],
    )
    try:
        if options.kind == "turn":
            return _make_turn(project, options.turn)
        return _score(project, options.schedule, options.slot, options.at)
    except Exception:  # noqa: BLE001 - KubeRay and the log say that it failed
        _log.exception("the job %s failed", options.name)
        return 1


def _make_turn(project: Project, turn_id: str) -> int:
    from tidemill.retraining.turns.turn import resume_turns  # engines take seconds to import

    state = open_state(project.state_url)
    try:
        turns = resume_turns(project, state, lambda e: _log.info("%s %s: %s", e.turn_id, e.step, e.message))
    finally:
        state.close()
    turn = next((one for one in turns if one.id == turn_id), None)
    if turn is None:
        _log.info("turn %s is over", turn_id)
        return 0
    _log.info("turn %s: %s%s", turn_id, turn.status, f": {turn.error}" if turn.error else "")
    return 1 if turn.status == "running" else 0


def _score(project: Project, schedule: str, slot: str, at: str) -> int:
    from tidemill.scoring.schedules.scheduled_runs import main as score

    code = score(["--project", str(project.root), "--schedule", schedule, "--slot", slot, "--at", at])
    if code:
        _log.info("the try is on record; the schedule says when the next one is")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
