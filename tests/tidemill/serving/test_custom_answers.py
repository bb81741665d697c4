"""Answers of any form: a class of the project becomes a version, answers, is logged and measured."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from fastapi.testclient import TestClient

from tests.tidemill.training.made_project import AS_OF, crown
from tests.tidemill.training.small_project import Data
from tidemill.prediction_log.prediction_log import read_labelled
from tidemill.project import load_project
from tidemill.registry.importing.checked_model import ImportRequest, ProjectState
from tidemill.registry.importing.model_import import import_version
from tidemill.serving.runtime.replica.wiring import build_api
from tidemill.state import open_state

pytestmark = pytest.mark.engine

N = 60
AT = datetime(2025, 1, 2, tzinfo=UTC)
PARAMS = {
    "project": {"name": "any", "model": "any", "task": "custom", "training": "models:spec"},
    "dataset": {"path": "data/t.parquet", "label": "liked", "time": None, "label_known": None},
    "features": {"from": "request"},
    "split": {"by": "random"},
    "train": {"metric": "models:closeness"},
    "serve": {"trust_pickled": [f"any/{number}" for number in range(1, 6)]},
}
COLUMNS = """
columns:
- {name: query, type: text}
- {name: price, type: number}
- {name: vector, type: list, length: 2}
"""
MODELS = '''
import numpy as np
from tidemill import Family, TrainingSpec

spec = TrainingSpec((Family("none", {}, print, 1),))


def closeness(truth, answers):
    return -float(np.mean([one != other for one, other in zip(truth, answers)]))


class Ranking:
    """Text in, a list of objects out."""

    def predict(self, frame):
        return [
            [{"item": word, "score": np.float32(len(word))} for word in sorted(str(text).split())]
            for text in frame["query"]
        ]


class Quantiles:
    """Columns by name."""

    def predict(self, frame):
        return {"q10": frame["price"].to_numpy() - 1, "q90": frame["price"].to_numpy() + 1}


class Embedding:
    """A row of an array for each row."""

    def predict(self, frame):
        return frame[["vector.0", "vector.1"]].to_numpy(np.float32) * 2


class Word:
    """One text each."""

    def predict(self, frame):
        return frame["query"].str.upper()


class Nested:
    """An object in an object."""

    def predict(self, frame):
        return [{"facts": {"price": price, "tags": [], "known": True}} for price in frame["price"]]
'''
ASKED = {"query": "pear fig", "price": 2.5, "vector": [1.0, -0.5]}
ANSWERS = {
    "Ranking": [{"item": "fig", "score": 3.0}, {"item": "pear", "score": 4.0}],
    "Quantiles": {"q10": 1.5, "q90": 3.5},
    "Embedding": [2.0, -1.0],
    "Word": "PEAR FIG",
    "Nested": {"facts": {"price": 2.5, "tags": [], "known": True}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("any")
    (root / "data").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (root / "features.yaml").write_text(COLUMNS)
    (root / "models.py").write_text(MODELS)
    draw = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "query": draw.choice(["pear fig", "fig", "apple pie"], N).tolist(),
            "price": draw.normal(size=N),
            "vector": draw.normal(size=(N, 2)).tolist(),
            "liked": [["fig"]] * N,
        }
    )
    rows.write_parquet(root / "data" / "t.parquet")
    rows.head(3).write_parquet(root / "examples.parquet")
    project = load_project(root)
    open_state(project.state_url).close()
    return project


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_class_answers_is_served_logged_and_measured(project, name):
    state = ProjectState(Data(), ("query", "price", "vector"), "request", "0")
    request = ImportRequest(
        f"models:{name}", AS_OF, examples=project.root / "examples.parquet", allow_code=True
    )
    made = import_version(project, request, state)
    crown(project, made.version)
    with TestClient(build_api(project, "r1"), raise_server_exceptions=False) as api:
        answered = api.post("/predict", json={"instances": [ASKED, ASKED], "at": AT.isoformat()})
        assert answered.status_code == 200, answered.text
        one, other = answered.json()["predictions"]
        assert one["answer"] == ANSWERS[name]
        batch = api.post("/invocations", json={"dataframe_records": [ASKED]})
        assert batch.json()["predictions"] == [ANSWERS[name]]
        labels = [
            {"prediction_id": one["prediction_id"], "label": ANSWERS[name], "at": AT.isoformat()},
            {"prediction_id": other["prediction_id"], "label": {"none": None}, "at": AT.isoformat()},
        ]
        assert api.post("/feedback", json={"labels": labels}).status_code == 200
    day = timedelta(days=1)
    rows = read_labelled(project.predictions, project.model, AT, AT + day, AT + day)
    rows = rows.filter(pl.col("version") == made.version)
    truth, given = project.task.truth_of_log(rows), project.task.given_in_log(rows)
    assert given.tolist() == [ANSWERS[name]] * 2
    assert project.task.evaluate(truth, given)["models:closeness"] == -0.5
