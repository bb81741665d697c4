"""Record the validation report of the training data on the run."""

import json
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from tidemill.data.expectations.declarations import load_expectations
from tidemill.errors import TrainingError
from tidemill.project import Project
from tidemill.training.tracking.mlflow_tracking import log_values

__all__ = ["VALIDATION", "log_validation", "validation_metrics"]

VALIDATION = "validation.json"
"""Artifact of the run: the report of stage validate."""


def log_validation(client: MlflowClient, run_id: str, project: Project) -> None:
    """Log the project's validation report to a run, if there is one.

    Raises:
        TrainingError: the report cannot be read.
        ConfigError: ``expectations.yaml`` is wrong.
    """
    path = project.root / load_expectations(project.root).report
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        metrics = validation_metrics(report)
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise TrainingError(
            f"{path} cannot be read: {error}", hint="make it again: `dvc repro --force validate`"
        ) from error
    client.log_dict(run_id, report, VALIDATION)
    log_values(client, run_id, metrics=metrics)


def validation_metrics(report: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the numbers of a report that runs can be compared by.

    >>> flights = {"rows": 200, "rejected": 5, "failing": 5, "checks": [{"outcome": "failed"}]}
    >>> found = validation_metrics({"flights": flights})
    >>> found["data.rejected_share.flights"], found["data.failed_checks.flights"]
    (0.025, 1)
    """
    found: dict[str, float] = {}
    for name, of_set in report.items():
        rows = of_set["rows"]
        found[f"data.rows.{name}"] = rows
        found[f"data.rejected_share.{name}"] = of_set["rejected"] / rows if rows else 0.0
        found[f"data.failing_share.{name}"] = (
            of_set.get("failing", of_set["rejected"]) / rows if rows else 0.0
        )
        found[f"data.failed_checks.{name}"] = sum(c["outcome"] == "failed" for c in of_set.get("checks", ()))
    return found
