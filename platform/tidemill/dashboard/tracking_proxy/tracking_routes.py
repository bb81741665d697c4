"""Says what each route of MLflow's server needs. What is not in the table is refused, whoever asks.

The decision is made by method and path alone, so that no spelling of a request's content gets around it.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tidemill.accounts.roles import Permission

__all__ = ["ARTIFACTS", "ROUTES", "needs_of"]

_V2, _V3 = "~/2.0/mlflow", "~/3.0/mlflow"
ROUTES: Final[dict["Permission", tuple[str, ...]]] = {
    ("read", "run"): (
        "GET /",
        "GET /health",
        "GET /version",
        "GET /static-files/**",
        "POST /graphql",  # all of its schema reads
        "GET /ajax-api/3.0/mlflow/ui-telemetry",
        f"GET {_V3}/server-info",
        f"GET {_V2}/experiments/get",
        f"GET {_V2}/experiments/get-by-name",
        f"GET {_V2}/experiments/search",
        f"POST {_V2}/experiments/search",
        "POST /ajax-api/2.0/mlflow/experiments/search-datasets",
        f"GET {_V2}/runs/get",
        f"POST {_V2}/runs/search",
        f"GET {_V2}/metrics/get-history",
        "GET /ajax-api/2.0/mlflow/metrics/get-history-bulk",
        f"GET {_V2}/metrics/get-history-bulk-interval",
        f"GET {_V2}/logged-models/*",
        f"POST {_V2}/logged-models/search",
        f"GET {_V2}/traces",
        f"GET {_V2}/traces/*/info",
        f"GET {_V2}/unified-traces",
        f"GET {_V2}/get-online-trace-details",
        f"GET {_V3}/traces/get",
        f"GET {_V3}/traces/batchGet",
        f"POST {_V3}/traces/batchGetInfos",
        f"GET {_V3}/traces/*",
        f"POST {_V3}/traces/search",
        f"POST {_V3}/traces/metrics",
        f"POST {_V3}/traces/calculate-filter-correlation",
        f"GET {_V3}/traces/*/assessments/*",
        f"GET {_V3}/datasets/*",
        f"GET {_V3}/datasets/search",
        f"POST {_V3}/datasets/search",
        f"GET {_V3}/datasets/*/experiment-ids",
        f"GET {_V3}/datasets/*/records",
    ),
    ("write", "run"): (
        f"POST {_V2}/experiments/create",
        f"POST {_V2}/experiments/update",
        f"POST {_V2}/experiments/set-experiment-tag",
        f"POST {_V2}/experiments/delete-experiment-tag",
        f"POST {_V2}/runs/create",
        f"POST {_V2}/runs/update",
        f"POST {_V2}/runs/log-metric",
        f"POST {_V2}/runs/log-parameter",
        f"POST {_V2}/runs/log-batch",
        f"POST {_V2}/runs/log-inputs",
        f"POST {_V2}/runs/log-model",
        f"POST {_V2}/runs/outputs",
        f"POST {_V2}/runs/set-tag",
        f"POST {_V2}/runs/delete-tag",
        f"POST {_V2}/logged-models",
        f"PATCH {_V2}/logged-models/*",
        f"POST {_V2}/logged-models/*/params",
        f"PATCH {_V2}/logged-models/*/tags",
        f"DELETE {_V2}/logged-models/*/tags/*",
        "POST /v1/traces",
        f"POST {_V2}/traces",
        f"PATCH {_V2}/traces/*",
        f"PATCH {_V2}/traces/*/tags",
        f"DELETE {_V2}/traces/*/tags",
        f"POST {_V2}/traces/link-to-run",
        f"POST {_V3}/traces",
        f"PATCH {_V3}/traces/*/tags",
        f"DELETE {_V3}/traces/*/tags",
        f"POST {_V3}/traces/*/assessments",
        f"PATCH {_V3}/traces/*/assessments/*",
        f"DELETE {_V3}/traces/*/assessments/*",
        f"POST {_V3}/datasets/create",
        f"POST {_V3}/datasets/*/add-experiments",
        f"POST {_V3}/datasets/*/remove-experiments",
        f"POST {_V3}/datasets/*/records",
        f"PATCH {_V3}/datasets/*/tags",
        f"DELETE {_V3}/datasets/*/tags/*",
    ),
    ("delete", "run"): (
        f"POST {_V2}/experiments/delete",
        f"POST {_V2}/experiments/restore",
        f"POST {_V2}/runs/delete",
        f"POST {_V2}/runs/restore",
        f"DELETE {_V2}/logged-models/*",
        f"POST {_V2}/traces/delete-traces",
        f"POST {_V3}/traces/delete-traces",
        f"DELETE {_V3}/datasets/*",
        f"DELETE {_V3}/datasets/*/records",
    ),
    ("read", "artifact"): (
        "GET /get-artifact",
        "GET /model-versions/get-artifact",
        f"GET {_V2}/artifacts/list",
        f"GET {_V2}/logged-models/*/artifacts/directories",
        "GET /ajax-api/2.0/mlflow/logged-models/*/artifacts/files",
        "GET /ajax-api/2.0/mlflow/get-trace-artifact",
        "GET /ajax-api/3.0/mlflow/get-trace-artifact",
        "GET ~/2.0/mlflow-artifacts/artifacts",
        "GET ~/2.0/mlflow-artifacts/artifacts/**",
    ),
    ("write", "artifact"): (
        "PUT ~/2.0/mlflow-artifacts/artifacts/**",
        "POST ~/2.0/mlflow-artifacts/mpu/create/**",
        "POST ~/2.0/mlflow-artifacts/mpu/complete/**",
        "POST ~/2.0/mlflow-artifacts/mpu/abort/**",
        "POST /ajax-api/2.0/mlflow/upload-artifact",
    ),
    ("delete", "artifact"): ("DELETE ~/2.0/mlflow-artifacts/artifacts/**",),
    ("read", "version"): (
        f"GET {_V2}/registered-models/get",
        f"GET {_V2}/registered-models/search",
        f"GET {_V2}/registered-models/alias",
        f"GET {_V2}/registered-models/get-latest-versions",
        f"POST {_V2}/registered-models/get-latest-versions",
        f"GET {_V2}/model-versions/get",
        f"GET {_V2}/model-versions/get-download-uri",
        f"GET {_V2}/model-versions/search",
    ),
    ("register", "version"): (
        f"POST {_V2}/registered-models/create",
        f"POST {_V2}/model-versions/create",
    ),
    ("annotate", "version"): (
        f"PATCH {_V2}/registered-models/update",
        f"POST {_V2}/registered-models/set-tag",
        f"DELETE {_V2}/registered-models/delete-tag",
        f"PATCH {_V2}/model-versions/update",
        f"POST {_V2}/model-versions/set-tag",
        f"DELETE {_V2}/model-versions/delete-tag",
    ),
    ("promote", "version"): (
        f"POST {_V2}/registered-models/alias",
        f"DELETE {_V2}/registered-models/alias",
        f"POST {_V2}/model-versions/transition-stage",
    ),
    ("delete", "version"): (
        f"DELETE {_V2}/model-versions/delete",
        f"DELETE {_V2}/registered-models/delete",
        f"POST {_V2}/registered-models/rename",
    ),
}
"""Permission → the routes that need it. ``~`` stands for ``/api`` and ``/ajax-api``, ``*`` for one segment of
a path, ``**`` for one or more.

Not here, and so refused to everybody: the gateway and its secrets, webhooks, scorers, evaluations, jobs, the
assistant, MCP servers, workspaces, review queues and demos. They call other hosts or run programs as the
server, or belong to users that MLflow alone knows.
"""
ARTIFACTS: Final = frozenset({("read", "artifact")})
"""What leads to files that somebody uploaded."""


def needs_of(method: str, path: str) -> "Permission | None":
    """Return what a route needs; None if it is not in the table.

    Args:
        method: of the request; HEAD needs what GET needs.
        path: below the prefix of MLflow's pages, as `canonical` returned it.

    >>> needs_of("POST", "/ajax-api/2.0/mlflow/registered-models/alias")
    ('promote', 'version')
    >>> needs_of("GET", "/api/2.0/mlflow-artifacts/artifacts/1/models/model.skops")
    ('read', 'artifact')
    >>> needs_of("POST", "/ajax-api/2.0/mlflow/gateway-proxy")
    >>> needs_of("GET", "/api/2.0/mlflow/runs/get/")
    """
    method = "GET" if method == "HEAD" else method
    given = path.split("/")[1:]
    exact = _table().get((method, tuple(given)))
    if exact is not None:
        return exact
    fitting = (needs for kind, template, needs in _templates() if kind == method and _fits(given, template))
    return next(fitting, None)


def _fits(given: list[str], template: tuple[str, ...]) -> bool:
    if "" in given:
        return False
    if template[-1] == "**":
        stem = template[:-1]
        return len(given) > len(stem) and _fits(given[: len(stem)], stem)
    return len(given) == len(template) and all(
        want in ("*", part) for part, want in zip(given, template, strict=True)
    )


@cache
def _table() -> dict[tuple[str, tuple[str, ...]], "Permission"]:
    return {(method, path): needs for method, path, needs in _spelled_out() if not {"*", "**"} & set(path)}


@cache
def _templates() -> list[tuple[str, tuple[str, ...], "Permission"]]:
    return [one for one in _spelled_out() if {"*", "**"} & set(one[1])]


def _spelled_out() -> Iterator[tuple[str, tuple[str, ...], "Permission"]]:
    for needs, routes in ROUTES.items():
        for route in routes:
            method, path = route.split(" ")
            for start in ("/api", "/ajax-api") if path.startswith("~") else ("",):
                yield method, tuple((start + path.removeprefix("~")).split("/")[1:]), needs
