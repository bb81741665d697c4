"""Sends thousands of unusual requests to the dashboard's JSON twins: no 5xx, and nothing undeclared.

They are Schemathesis's, made from OpenAPI: valid ones, and ones that break it. Most name a model, an alert
or a run that there is, as names that nobody gave find nothing but 404. What starts a process (promote,
roll back, retrain, stop, answer) is asked with GET alone, so that ten thousand requests take minutes.

    python -m benchmarks.fuzz_dashboard --project COPY_OF_A_PROJECT     # it is changed: take a copy
    python -m benchmarks.fuzz_dashboard --cases 1000                    # an empty project of its own
"""

import argparse
import logging
import re
import secrets
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import requests
import schemathesis
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from benchmarks.children import clean_up_after
from benchmarks.fuzz_api import REFUSALS, Report, count_round
from tidemill.accounts.identities import Identity
from tidemill.dashboard.app import make_app
from tidemill.dashboard.door.account_identification import AccountIdentification
from tidemill.dashboard.door.identification import Identified
from tidemill.dashboard.installation import Installation, record_project
from tidemill.project import load_project
from tidemill.settings import Settings

__all__ = ["app_with_key", "fuzz", "known_ids"]

ROUND = 40  # generated cases an operation, in one round of Schemathesis
API = "/api/v1"
_FUZZ = Identity("token", "token:fuzz", {"*": frozenset({"admin"})})
_APART = re.compile(r"POST .*/(?:promote|roll-back|retrain|stop|answer)$")
_COSTLY = re.compile(r"GET .*/policies/now$")
"""Starts a process for each answer, which takes seconds: a few cases are enough."""
_LISTS = {
    "alert_id": ("alerts", "alerts"),
    "run_id": ("runs", "runs"),
    "turn_id": ("turns", "turns"),
    "rollout_id": ("rollouts", "rollouts"),
    "decision_id": ("decisions", "decisions"),
    "revision": ("data", "versions"),
    "prediction_id": ("predictions", "predictions"),
    "version": ("versions", "versions"),
}
"""Parameter of a path → the twin that lists such things."""


def fuzz(url: str, key: str, cases: int, seed: int = 0) -> Report:
    """Send ``cases`` requests, or a few more, to the dashboard at ``url`` with a key."""
    report = Report()
    headers = {"Authorization": f"Bearer {key}"}
    _aim(known_ids(url, headers))
    first = cases > 2000
    try:
        _round(url, headers, report, 0, seed, costly=True)
        while report.cases < cases:
            _round(url, headers, report, cases - report.cases, seed, coverage=first)
            first = False
            seed += 1
            print(f"{report.cases} of {cases} cases", file=sys.stderr, flush=True)
    finally:
        schemathesis.hooks.unregister_all()
    return report


def known_ids(url: str, headers: dict[str, str]) -> dict[str, list[str]]:
    """Return names and ids that there are, by the parameter that takes them."""
    found: dict[str, list[str]] = defaultdict(list)
    fleet = requests.get(f"{url}{API}/fleet", headers=headers, timeout=120).text
    found["model"] = sorted(set(re.findall(r'"model":"([^"]+)"', fleet)))
    for name, (path, _) in _LISTS.items():
        for model in found["model"]:
            text = requests.get(f"{url}{API}/models/{model}/{path}", headers=headers, timeout=120).text
            fields = r"id|run_id|prediction_id|revision|commit|version|number"
            found[name] += re.findall(rf'"(?:{fields})":"([^"]+)"', text)[:20]
    return {name: some for name, some in found.items() if some}


def _aim(known: dict[str, list[str]]) -> None:
    """Let most requests name something that there is."""

    @schemathesis.hook
    def map_path_parameters(ctx: Any, path_parameters: Any) -> Any:
        if not isinstance(path_parameters, dict):
            return path_parameters
        aimed = dict(path_parameters)
        for name, given in path_parameters.items():
            some = known.get(name, [])
            # By the value itself, so that the same seed sends the same requests.
            choice = sum(str(given).encode("utf-8", "replace"))
            if some and (name == "model" or choice % 4):
                aimed[name] = some[choice % len(some)]
        return aimed


def _round(
    url: str,
    headers: dict[str, str],
    report: Report,
    wanted: int,
    seed: int,
    *,
    coverage: bool = False,
    costly: bool = False,
) -> None:
    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "headers": headers,
            "cache": {"enabled": False},
            "request-timeout": 120,
            "generation": {"max-examples": max(2, min(ROUND, wanted // 70)), "no-shrink": True},
            "phases": {"coverage": {"enabled": coverage}, "stateful": {"enabled": False}},
            # A valid id of nothing is refused; what a schema forbids may be taken as something else.
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                "negative_data_rejection": {"expected-statuses": [*REFUSALS, "409", "503"]},
                # What takes too long is said with 503, and goes on meanwhile: declared, and no fault.
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
                "ignored_auth": {"enabled": False},  # the open door lets everybody in
            },
        }
    )
    made = schemathesis.openapi.from_url(f"{url}{API}/openapi.json", config=config, headers=headers)
    if costly:
        count_round(made.include(name_regex=_COSTLY), report)
    else:
        count_round(made.exclude(name_regex=_APART).exclude(name_regex=_COSTLY), report)


class _Door:
    """The real door, but for one key that stays whatever the requests do: they revoke tokens, too."""

    def __init__(self, installation: Installation, key: str) -> None:
        self._sent = f"Bearer {key}"
        self._real = AccountIdentification(installation, open_here=False)

    def identify(self, request: HTTPConnection) -> Identified:
        """Return who a request is from."""
        if request.headers.get("authorization") == self._sent:
            return Identified(_FUZZ, None)
        return self._real.identify(request)


def app_with_key(project: Path) -> tuple[ASGIApp, str]:
    """Return the dashboard of a project's folder, and a key that may do everything there."""
    loaded = load_project(project, Settings())
    installation = Installation(loaded)
    record_project(installation.state, installation.home, installation.clock.now())
    key = secrets.token_urlsafe(32)
    return make_app(installation, _Door(installation, key), local_only=False), key


def main() -> None:
    """Fuzz, and say what came back; exit with 1 if something must not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--project", type=Path, help="folder of a project, which is changed")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = _run(args.project or _empty_project(Path(folder)), args.cases, args.seed)
    report.show()
    spent = time.perf_counter() - began
    print(f"\n{report.cases} cases, {len(report.failures)} kinds of failure, {spent:.0f} s, seed {args.seed}")
    sys.exit(bool(report.failures))


def _run(project: Path, cases: int, seed: int) -> Report:
    from tests.tidemill.serving.http_server import listening

    app, key = app_with_key(project)
    with listening(app) as url:
        return fuzz(url, key, cases, seed)


def _empty_project(folder: Path) -> Path:
    (folder / "params.yaml").write_text(
        "project: {name: parcels, model: parcel-delay}\n"
        "dataset: {path: data/rows.parquet, label: late}\nfeatures: {from: request}\n"
    )
    (folder / "features.yaml").write_text("features: {weight: {type: float}}\n")
    return folder


if __name__ == "__main__":
    clean_up_after(main)
