"""MLflow without FastAPI, where nobody uses its gateway."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("first", ["lineage.sources.tracked_runs", "registry.deployments", "training.train"])
def test_mlflow_is_imported_without_fastapi_and_its_gateway_works_when_asked(first: str):
    code = f"""
import pickle, sys
import tidemill.{first}, mlflow.store.tracking.sqlalchemy_store
print("fastapi" in sys.modules)
print(hasattr(mlflow.gateway, "sin"), "fastapi" in sys.modules)
mlflow.gateway.set_gateway_uri("http://localhost:1")
print(mlflow.gateway.get_gateway_uri(), mlflow.gateway.utils._gateway_uri)
from mlflow.gateway import *
from mlflow.gateway import exceptions
print(get_gateway_uri is mlflow.gateway.utils.get_gateway_uri is pickle.loads(pickle.dumps(get_gateway_uri)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False", "False", *["http://localhost:1"] * 2, "True"]
