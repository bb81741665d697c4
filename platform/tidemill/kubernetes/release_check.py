"""Make one prediction and read it back from the log: ``python -m`` with the name of this module.

`helm test` runs it in a pod of the release. The prediction is marked as a test, which monitors leave out.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill.errors import PredictionNotFound, TidemillError, UsageError
from tidemill.project import Project, load_project
from tidemill.project.feature_columns import COLUMNS_FILE, read_columns, read_keys

__all__ = ["predict_and_find"]

_PAUSE = 0.5
_log = logging.getLogger(__name__)


def predict_and_find(
    project: Project, url: str, instance: Mapping[str, Any], seconds: float = 30.0
) -> dict[str, Any]:
    """Return the log's record of a prediction that is made now.

    Raises:
        ServingError: the API does not answer, or not with a prediction.
        PredictionNotFound: it is not in the log after so many seconds.
    """
    from tidemill.prediction_log.search.record_search import find_prediction  # imports Polars
    from tidemill.serving.http.client import PredictionClient

    with PredictionClient(url) as client:
        made = client.predict([instance], test=True).predictions[0].prediction_id
    end = time.monotonic() + seconds
    while (found := find_prediction(project.predictions, project.model, made)) is None:
        if time.monotonic() > end:
            raise PredictionNotFound(
                f"prediction {made} is not in the log at {project.predictions} after {seconds:g} s",
                hint="check that the API's pods and this one have the same volume",
            )
        time.sleep(_PAUSE)
    return dict(found)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.kubernetes.release_check")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--url", required=True, help="address of the prediction API")
    parser.add_argument("--instance", help="what to send, as JSON (default: the example of features.yaml)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        project = load_project(options.project)
        found = predict_and_find(project, options.url, _instance(project, options.instance))
    except TidemillError as error:
        _log.error("%s%s", error, f"; {error.hint}" if error.hint else "")
        return 1
    _log.info("version %s answered, and the log has it: %s", found["version"], found["prediction_id"])
    return 0


def _instance(project: Project, text: str | None) -> Mapping[str, Any]:
    if text is None:
        if not (project.root / COLUMNS_FILE).exists():
            raise UsageError(
                f"{project.root} has no {COLUMNS_FILE}, which would give an example",
                hint="set test.instance in the values",
            )
        columns = (*read_keys(project), *read_columns(project))
        return {column.name: column.example for column in columns if column.example is not None}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"test.instance is not JSON: {error}", hint='write such as {"carrier": "UA"}'
        ) from error
    if not isinstance(given, dict):
        raise UsageError("test.instance is no JSON object", hint='write such as {"carrier": "UA"}')
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
