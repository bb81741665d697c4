"""Sends thousands of unusual requests: none may get a 5xx, or an answer that OpenAPI does not declare.

Two thirds of them are Schemathesis's, made from OpenAPI: valid ones, and ones that break it. The others know
more than OpenAPI can say (rows and shapes agree, names are those of the model, binary data fits its tensor),
so that most get as far as the model; some of them are then broken in one place.

    python -m benchmarks.fuzz_api --cases 10000            # a small project of its own
    python -m benchmarks.fuzz_api --url http://127.0.0.1:8000
"""

import argparse
import logging
import math
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.engine import events, from_schema

from benchmarks.children import clean_up_after
from benchmarks.unusual_requests import Body, frames, instances, tensors

__all__ = ["REFUSALS", "Report", "count_round", "fuzz"]

ROUND = 60  # generated cases an operation, in one round of Schemathesis
REFUSALS = ["400", "401", "403", "404", "405", "413", "415", "422", "429"]
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(hypothesis.HealthCheck)}


@dataclass
class Report:
    """What came back."""

    cases: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By operation and status."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By operation."""
    failures: dict[str, str] = field(default_factory=dict)
    """What must not be → the first request that did it."""
    lenient: dict[str, str] = field(default_factory=dict)
    """What OpenAPI forbids and the API took → the first such request: told, and no failure. In a project's
    own fields Pydantic takes false for 0, or a number for a moment."""

    def count(self, operation: str, status: int, seconds: float = 0.0) -> None:
        """Count one answer."""
        self.cases += 1
        self.seconds[operation] += seconds
        self.statuses[operation, status] += 1

    def show(self) -> None:
        """Print what came back."""
        for (operation, status), count in sorted(self.statuses.items()):
            print(f"{operation:<60}{status:>6}{count:>8}")
        for operation, seconds in sorted(self.seconds.items(), key=lambda one: -one[1])[:5]:
            print(f"{operation:<60}{seconds:>12.1f} s")
        for word, found in (("TAKEN", self.lenient), ("FAILED", self.failures)):
            for what, request in found.items():
                print(f"\n{word} {what}\n    {request}")


def fuzz(url: str, cases: int, seed: int = 0) -> Report:
    """Send ``cases`` requests, or a few more, to the API at ``url``."""
    report = Report()
    knowing = cases // 3
    while report.cases < cases - knowing:
        before = report.cases
        _round(url, report, cases - knowing - before, seed, coverage=before == 0 and cases > 2000)
        seed += 1
    _with_knowledge(url, report, knowing, seed)
    return report


def _load(url: str, seed: int, examples: int, coverage: bool) -> Any:
    config = schemathesis.Config.from_dict(
        {
            "seed": seed,
            "cache": {"enabled": False},
            "request-timeout": 120,  # the first explanation loads SHAP
            "generation": {"max-examples": examples, "no-shrink": True},
            "phases": {"coverage": {"enabled": coverage}, "stateful": {"enabled": False}},
            # That rows and shapes agree is more than a schema can say: valid requests may be refused.
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                "negative_data_rejection": {"expected-statuses": REFUSALS},
            },
        }
    )
    return schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)


def _round(url: str, report: Report, wanted: int, seed: int, coverage: bool) -> None:
    schema = _load(url, seed, max(3, min(ROUND, wanted // 8)), coverage)
    count_round(schema, report)


def count_round(schema: Any, report: Report) -> None:
    """Let Schemathesis send its requests, and count what comes back."""
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            report.failures.setdefault(f"{event.label}: {event.value}", "")
        if not isinstance(event, events.ScenarioFinished):
            continue
        for interaction in event.recorder.interactions.values():
            if interaction.response is None:
                report.failures.setdefault(f"{event.label}: no answer", str(interaction.request))
            else:
                report.count(event.label, interaction.response.status_code, interaction.response.elapsed)
        for name, checks in event.recorder.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                failure, sent = check.failure_info.failure, event.recorder.interactions.get(name)
                text = f"{event.label}: {check.name}: {failure.title}: {failure.message[:300]}"
                kind = report.lenient if check.name == "negative_data_rejection" else report.failures
                kind.setdefault(text, _shown(sent))


def _shown(sent: Any) -> str:
    if sent is None:
        return ""
    answer = sent.response.content[:300] if sent.response else b"nothing"
    return f"{sent.request.method} {sent.request.uri} {(sent.request.body or b'')[:300]!r} -> {answer!r}"


def _with_knowledge(url: str, report: Report, cases: int, seed: int) -> None:
    """Send requests by the project's names and types, each checked against OpenAPI, too."""
    schema = _load(url, seed, 1, coverage=False)
    session = requests.Session()
    model = session.get(f"{url}/model", timeout=30).json()["model"]
    metadata = session.get(f"{url}/v2/models/{model}", timeout=30).json()
    instance = _instance(schema.raw_schema)
    infer = f"/v2/models/{model}/infer"
    strategies = {
        infer: tensors(metadata, instance),
        "/invocations": frames(metadata, instance),
        "/predict": instances(instance),
    }
    for path, strategy in strategies.items():
        examples = math.ceil(cases / len(strategies))
        _send_all(session, url + path, schema[path]["POST"], strategy, examples, seed, report)


def _send_all(
    session: requests.Session,
    url: str,
    operation: Any,
    strategy: st.SearchStrategy[Body],
    examples: int,
    seed: int,
    report: Report,
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, **QUIET)
    @hypothesis.given(strategy)
    def send(request: Body) -> None:
        body, headers = request
        answer = session.post(url, body, headers=headers, timeout=60)
        report.count(operation.label, answer.status_code)
        wrong = [] if answer.status_code < 500 else ["a 5xx"]
        try:
            operation.validate_response(answer)
        except FailureGroup as group:
            wrong += [str(one) for one in group.exceptions]
        except Failure as failure:
            wrong.append(str(failure))
        for text in wrong:
            shown = f"{body[:1000]!r} {headers} -> {answer.content[:300]!r}"
            report.failures.setdefault(f"{operation.label}: {text[:400]}", shown)

    send()


def _instance(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one instance, by its fields."""
    schemas = raw["components"]["schemas"]
    body = raw["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    request = schemas[body["$ref"].rpartition("/")[2]]
    items = request["properties"]["instances"]["items"]
    found: dict[str, Any] = schemas[items["$ref"].rpartition("/")[2]]
    return found


def main() -> None:
    """Fuzz, and say what came back; exit with 1 if something must not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--url", help="of a running API; default: a small project of its own")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    if args.url:
        report = fuzz(args.url, args.cases, args.seed)
    else:
        logging.disable(logging.CRITICAL)
        with tempfile.TemporaryDirectory() as folder:
            report = _with_small_project(Path(folder), args.cases, args.seed)
    report.show()
    spent = time.perf_counter() - began
    print(f"\n{report.cases} cases, {len(report.failures)} kinds of failure, {spent:.0f} s, seed {args.seed}")
    sys.exit(bool(report.failures))


def _with_small_project(folder: Path, cases: int, seed: int) -> Report:
    from tests.tidemill.serving.http_server import listening
    from tests.tidemill.serving.small_project import add_version, crown, make_project
    from tidemill.serving.runtime.replica.wiring import build_api

    # The first request for an explanation loads SHAP, which takes a while.
    project = make_project(folder / "project", timeout_seconds=300)
    crown(project, add_version(project, 0.2))
    with listening(build_api(project, "fuzzed")) as url:
        return fuzz(url, cases, seed)


if __name__ == "__main__":
    clean_up_after(main)
