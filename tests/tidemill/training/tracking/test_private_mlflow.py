"""MLflow without FastAPI, where nobody uses its gateway."""

import pytest

from tests.warm_python import run_warm

OTHERS = (
    "alembic.command",
    "git",
    "numpy",
    "onnxruntime",
    "pandas",
    "polars",
    "pyarrow.parquet",
    "pydantic",
    "scipy.stats",
    "sklearn.ensemble",
    "sqlalchemy.orm",
    "yaml",
)
"""Libraries that take seconds to import, and that import neither MLflow nor FastAPI nor a module of ours."""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lineage.sources.tracked_runs", "registry.deployments", "training.train"])
def test_mlflow_is_imported_without_fastapi_and_its_gateway_works_when_asked(first: str):
    code = f"""
import pickle, sys
print([name for name in ("mlflow", "fastapi", "tidemill") if name in sys.modules])
import tidemill.{first}, mlflow.store.tracking.sqlalchemy_store
print("fastapi" in sys.modules)
print(hasattr(mlflow.gateway, "sin"), "fastapi" in sys.modules)
mlflow.gateway.set_gateway_uri("http://localhost:1")
print(mlflow.gateway.get_gateway_uri(), mlflow.gateway.utils._gateway_uri)
from mlflow.gateway import *
from mlflow.gateway import exceptions
print(get_gateway_uri is mlflow.gateway.utils.get_gateway_uri is pickle.loads(pickle.dumps(get_gateway_uri)))
"""
    run = run_warm(code, modules=OTHERS)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["[]", "False", "False", "False", *["http://localhost:1"] * 2, "True"]
