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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import orjson
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.engine import events, from_schema

from benchmarks.children import clean_up_after

__all__ = ["Report", "fuzz"]

ROUND = 60  # generated cases an operation, in one round of Schemathesis
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SIZES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4", "UINT8": "u1", "BOOL": "?"}
REFUSALS = ["400", "401", "403", "404", "405", "413", "415", "422", "429"]
QUIET = {"deadline": None, "database": None, "suppress_health_check": list(hypothesis.HealthCheck)}


@dataclass
class Report:
    """What came back."""

    cases: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By operation and status."""
    failures: dict[str, str] = field(default_factory=dict)
    """What must not be → the first request that did it."""
    lenient: dict[str, str] = field(default_factory=dict)
    """What OpenAPI forbids and the API took → the first such request: told, and no failure. In a project's
    own fields Pydantic takes false for 0, or a number for a moment."""

    def count(self, operation: str, status: int) -> None:
        """Count one answer."""
        self.cases += 1
        self.statuses[operation, status] += 1


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
                report.count(event.label, interaction.response.status_code)
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
        infer: _tensors(metadata, instance),
        "/invocations": _frames(metadata, instance),
        "/predict": _instances(instance),
    }
    for path, strategy in strategies.items():
        examples = math.ceil(cases / len(strategies))
        _send_all(session, url + path, schema[path]["POST"], strategy, examples, seed, report)


def _send_all(
    session: requests.Session,
    url: str,
    operation: Any,
    strategy: st.SearchStrategy[tuple[bytes, dict[str, str]]],
    examples: int,
    seed: int,
    report: Report,
) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, **QUIET)
    @hypothesis.given(strategy)
    def send(request: tuple[bytes, dict[str, str]]) -> None:
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


def _value(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that mostly fit one field."""
    if "anyOf" in schema:
        return st.one_of(*map(_value, schema["anyOf"]))
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time":
            return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        case "string":
            return st.text(max_size=10)
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "integer":
            return st.integers(-(2**63), 2**63 - 1)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return JSON


def _rows(instance: dict[str, Any], rows: int) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Return columns of fields: the required ones, and some of the others."""
    fields = instance["properties"]
    columns = {name: st.lists(_value(one), min_size=rows, max_size=rows) for name, one in fields.items()}
    required = {name: columns[name] for name in instance.get("required", [])}
    return st.fixed_dictionaries(required, optional={n: c for n, c in columns.items() if n not in required})


@st.composite
def _broken(draw: Any, content: Any) -> Any:
    """Replace something in it, sometimes."""
    if draw(st.integers(0, 3)):
        return content
    if isinstance(content, dict) and content:
        name = draw(st.sampled_from(sorted(content)))
        how = draw(st.sampled_from(["drop", "replace", "deeper", "deeper"]))
        rest = {key: value for key, value in content.items() if key != name}
        if how == "drop":
            return rest
        return {**rest, name: draw(JSON) if how == "replace" else draw(_broken(content[name]))}
    if isinstance(content, list) and content:
        place = draw(st.integers(0, len(content) - 1))
        return [*content[:place], draw(_broken(content[place])), *content[place + 1 :]]
    return draw(JSON)


@st.composite
def _tensor(draw: Any, name: str, values: list[Any], width: int | None, binary: bool) -> tuple[Any, bytes]:
    rows = len(values) // (width or 1)
    shape = [rows, width] if width else draw(st.sampled_from([[rows], [rows, 1]]))
    kinds = set(map(type, values))
    if kinds <= {str, type(None)}:
        datatype = "BYTES"
    elif kinds <= {bool}:
        datatype = draw(st.sampled_from(["BOOL", "FP32", "UINT8"]))
    elif kinds <= {int}:
        datatype = draw(st.sampled_from(["INT64", "FP64", "INT32"]))
    else:
        datatype = draw(st.sampled_from(["FP64", "FP64", "FP32", "INT64", "FP16"]))
    tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if not binary:
        return {**tensor, "data": values}, b""
    if datatype == "BYTES":
        texts = [(value or "").encode(errors="surrogatepass") for value in values]
        data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    else:
        size = int(SIZES.get(datatype, "<f2")[-1].replace("?", "1"))
        data = draw(st.binary(min_size=size * len(values), max_size=size * len(values)))
    size = len(data) if draw(st.integers(0, 9)) else draw(st.integers(-1, 2**40))
    return {**tensor, "parameters": {"binary_data_size": size}}, data


@st.composite
def _tensors(draw: Any, metadata: dict[str, Any], instance: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    rows = draw(st.sampled_from([0, 1, 1, 2, 2, 3, 4]))
    given = metadata["parameters"]["features"]
    numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100) | st.none()
    how = draw(st.sampled_from(["fields", "fields", "matrix", "features"]))
    width = None
    if how == "fields":
        columns = draw(_rows(instance, rows))
    elif how == "matrix":
        width = given["shape"][1]
        columns = {given["name"]: draw(st.lists(numbers, min_size=rows * width, max_size=rows * width))}
    else:
        columns = {name: draw(st.lists(numbers, min_size=rows, max_size=rows)) for name in given["columns"]}
    made = [draw(_tensor(name, values, width, draw(st.booleans()))) for name, values in columns.items()]
    content: dict[str, Any] = {"inputs": [tensor for tensor, _ in made]}
    names = [output["name"] for output in metadata["outputs"]]
    content |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "id": st.text(max_size=20),
                "outputs": st.lists(
                    st.fixed_dictionaries(
                        {"name": st.sampled_from(names)},
                        optional={"parameters": st.fixed_dictionaries({"binary_data": st.booleans()})},
                    ),
                    max_size=3,
                    unique_by=lambda output: output["name"],
                ),
                "parameters": st.fixed_dictionaries(
                    {},
                    optional={
                        "at": _value({"type": "string", "format": "date-time"}),
                        "binary_data_output": st.booleans(),
                        "explain": st.booleans(),
                        "priority": st.integers(0, 5),
                    },
                ),
            },
        )
    )
    text = orjson.dumps(_plain(draw(_broken(content))))
    data = b"".join(data for _, data in made)
    headers = {}
    if data or draw(st.booleans()):
        length = len(text) if draw(st.integers(0, 9)) else draw(st.integers(-5, 2**70))
        headers["Inference-Header-Content-Length"] = str(length)
    return text + data, headers


@st.composite
def _frames(draw: Any, metadata: dict[str, Any], instance: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    rows = draw(st.integers(0, 4))
    names = metadata["parameters"]["features"]["columns"]
    numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-100, 100) | st.none()
    features = {name: draw(st.lists(numbers, min_size=rows, max_size=rows)) for name in names}
    columns = features if draw(st.booleans()) else draw(_rows(instance, rows))
    lines = [list(line) for line in zip(*columns.values(), strict=True)]
    records = [dict(zip(columns, line, strict=True)) for line in lines]
    content = draw(
        st.sampled_from(
            [
                {"dataframe_split": {"columns": list(columns), "data": lines, "index": list(range(rows))}},
                {"dataframe_split": {"data": lines}},
                {"dataframe_records": records},
                {"instances": records},
                {"instances": lines},
                {"inputs": columns},
                {"inputs": lines},
                {"inputs": records[0] if records else {}},
                "csv",
            ]
        )
    )
    if content == "csv":
        table = [list(columns), *lines]
        quoted = [[f'"{"" if cell is None else cell}"' for cell in line] for line in table]
        text = "\n".join(",".join(line) for line in quoted)
        return draw(_torn(text.encode(errors="replace"))), {"Content-Type": "text/csv"}
    if draw(st.booleans()):
        content = {**content, "params": {"explain": draw(st.booleans())}}
    return orjson.dumps(_plain(draw(_broken(content)))), {"Content-Type": "application/json"}


@st.composite
def _torn(draw: Any, body: bytes) -> bytes:
    """Cut it, or put something into it, sometimes."""
    if draw(st.integers(0, 4)):
        return body
    place = draw(st.integers(0, len(body)))
    return body[:place] + draw(st.binary(max_size=3)) + (body[place:] if draw(st.booleans()) else b"")


@st.composite
def _instances(draw: Any, instance: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    rows = draw(st.integers(0, 4))
    columns = draw(_rows(instance, rows))
    records = [dict(zip(columns, line, strict=True)) for line in zip(*columns.values(), strict=True)]
    content = draw(_broken({"instances": records, "at": None}))
    return draw(_torn(orjson.dumps(_plain(content)))), {"Content-Type": "application/json"}


def _plain(content: Any) -> Any:
    """Return what orjson can write: text without lone surrogates, integers of 64 bits."""
    if isinstance(content, str):
        return content.encode(errors="replace").decode()
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        return float(content % 10**300)
    if isinstance(content, dict):
        return {_plain(key): _plain(value) for key, value in content.items()}
    return [_plain(one) for one in content] if isinstance(content, list) else content


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
    for (operation, status), count in sorted(report.statuses.items()):
        print(f"{operation:<60}{status:>6}{count:>8}")
    for word, found in (("TAKEN", report.lenient), ("FAILED", report.failures)):
        for what, request in found.items():
            print(f"\n{word} {what}\n    {request}")
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
