"""The pages on tasks; their custom one, quantiles of a number, is written, fitted, judged and saved."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml

from tidemill.monitoring.monitor_config import load_monitors
from tidemill.project import load_project
from tidemill.tasks.binary import Binary
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.training.fitting.packaging import trusted_types
from tidemill.training.spec_loading import load_spec

pytestmark = pytest.mark.engine

GUIDES = Path(__file__).parents[3] / "docs" / "tasks"
PAGE = (GUIDES / "custom.md").read_text().partition("## From a table")[2]
CODE, PARAMS, MONITORS = (block for _, block in re.findall(r"```(python|yaml)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def project(tmp_path):
    params = yaml.safe_load(PARAMS)
    params["project"] |= {"name": "sales", "model": "sales"}
    params["dataset"] = {"path": "data/t.parquet", "label": "sold", "time": None, "label_known": None}
    params["features"], params["split"] = {"from": "request"}, {"by": "random"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "forecast.py").write_text(CODE)
    (tmp_path / "features.yaml").write_text("columns: [{name: price, type: number}]")
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "monitors.yaml").write_text(MONITORS)
    return load_project(tmp_path)


def test_the_custom_task_of_the_page_learns_and_is_saved_and_watched(project):
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"price": draw.uniform(0, 10, 400)})
    sold = pd.Series(100 - 5 * rows["price"] + draw.normal(size=400))
    spec, task = load_spec(project), project.task
    (model,) = spec.families[0].fit({"learning_rate": 0.2}, rows, sold)
    answers = task.answers(model, rows)
    held = [one["q10"] <= want <= one["q90"] for one, want in zip(answers, sold, strict=True)]
    assert 0.7 < np.mean(held) < 0.95
    guess = np.array([{name: float(sold.median()) for name in ("q10", "q50", "q90")}] * 400, dtype=object)
    judged = [task.evaluate(sold.to_numpy(), one)["forecast:pinball"] for one in (answers, guess)]
    assert judged[0] > judged[1] / 5
    assert task.sound(answers).all()
    trusted = trusted_types(model, spec.trusted_types)
    again = skops.io.loads(skops.io.dumps(model), trusted=trusted)
    assert task.answers(again, rows).tolist() == answers.tolist()
    (monitor,) = load_monitors(project)
    assert monitor.calibration.interval == ("q10", "q90")


@pytest.mark.parametrize("task", [Binary(""), Multiclass("", classes=("a", "b")), Regression("")])
def test_the_page_of_a_task_names_its_metrics(task):
    page = (GUIDES / f"{task.kind}.md").read_text()
    assert [name for name in task.metrics if name and f"`{name}`" not in page] == []
