"""Every route of the installed MLflow is in the table or refused, and the table has no others."""

import re
import warnings

import pytest

from tidemill.accounts.roles import TABLE, may
from tidemill.dashboard.tracking_proxy.tracking_routes import ROUTES, needs_of

REFUSED = re.compile(
    r"/gateway/|gateway-proxy|/webhooks|/scorers?/|/genai/|/jobs/|/assistant/|/mcp-servers|/workspaces|/issues"
    r"|/label-schemas/|/review-queues/|/prompt-optimization/|/demo/|/presigned|ui-telemetry$|create-promptlab-run"
    r"|/link-prompts|/build/|2\.0mlflow/|^/graphql$|/metrics/get-history-bulk$"
)


def test_every_permission_of_the_table_is_one():
    for action, resource in ROUTES:
        assert action in TABLE[resource], (action, resource)


def test_a_champion_is_moved_by_those_alone_who_may_promote():
    for start in ("/api", "/ajax-api"):
        for method, name in [("POST", "alias"), ("DELETE", "alias")]:
            needs = needs_of(method, f"{start}/2.0/mlflow/registered-models/{name}")
            assert [may(role, needs) for role in ("viewer", "data-scientist", "ml-engineer")] == [
                False,
                False,
                True,
            ]


def test_a_route_is_no_prefix_and_no_suffix():
    fits = "/api/2.0/mlflow/runs/get"
    assert needs_of("GET", fits) == ("read", "run")
    assert needs_of("HEAD", fits) == ("read", "run")
    for wrong in (f"{fits}/", f"{fits}/x", f"/x{fits}", fits.replace("runs", "Runs"), fits[:-1], fits[4:]):
        assert needs_of("GET", wrong) is None, wrong
    assert needs_of("POST", fits) is None
    assert needs_of("TRACE", fits) is None
    assert needs_of("GET", "/api/2.0/mlflow-artifacts/artifacts/") is None


@pytest.mark.engine
def test_every_route_of_the_installed_version_is_in_the_table_or_refused():
    offered = 0
    for method, path in installed_routes():
        needs = needs_of(method, example(path))
        if needs is None:
            assert REFUSED.search(path), f"{method} {path}: put it into the table, or name it here"
        else:
            offered += 1
    assert offered > 200


@pytest.mark.engine
def test_the_table_names_no_route_that_does_not_exist():
    known = {(method, example(path)) for method, path in installed_routes()}
    for routes in ROUTES.values():
        for route in routes:
            method, path = route.split(" ")
            for start in ("/api", "/ajax-api") if path.startswith("~") else ("",):
                spelled = start + path.removeprefix("~").replace("**", "x").replace("*", "x")
                assert (method, spelled) in known, route


@pytest.mark.engine
def test_the_graph_query_language_only_reads():
    from mlflow.server.graphql.graphql_schema_extensions import schema

    mutations = set(schema.graphql_schema.mutation_type.fields)
    assert mutations == {"mlflowSearchRuns", "mlflowSearchDatasets", "testMutation"}  # the last one echoes


def installed_routes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server import app as older
        from mlflow.server.fastapi_app import app as newer

    found = {(method, rule.rule) for rule in older.url_map.iter_rules() for method in rule.methods}
    pending = [("", route) for route in newer.routes]
    while pending:
        prefix, route = pending.pop()
        if hasattr(route, "original_router"):
            inner = prefix + route.include_context.prefix
            pending += [(inner, one) for one in route.original_router.routes]
        elif hasattr(route, "methods"):
            found |= {(method, prefix + route.path) for method in route.methods}
        else:
            assert route.path == "", route  # what is mounted is the older application
    return sorted((method, path) for method, path in found if method not in ("HEAD", "OPTIONS"))


def example(path):
    """Return a path that a route with parameters takes."""
    return re.sub(r"<[^>]*>|\{[^}]*\}", "x", path)
