"""Every ready-made family learns every task from a table with text, gaps and truth values, and is saved."""

from functools import cache
from itertools import islice
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import skops.io

from tidemill.errors import ConfigError, TrainingError
from tidemill.project.train_config import FamilyName
from tidemill.tasks.task_choice import Target, make_task
from tidemill.training.compiling.compiler import CompiledModel, compile_model
from tidemill.training.compiling.onnx_session import open_session
from tidemill.training.compiling.parity import compare_answers
from tidemill.training.families import ready_families
from tidemill.training.families.ready_families import FAMILIES, ready_spec
from tidemill.training.fitting.packaging import trusted_types
from tidemill.training.search.proposals import candidates

pytestmark = pytest.mark.engine

ROWS = 600
TASKS = ("binary", "multiclass", "regression")
TARGETS = {
    "binary": Target("binary"),
    "multiclass": Target("multiclass", classes=("a", "b", "c", "never seen")),
    "regression": Target("regression", metric="r2"),
}


def table(rows=ROWS, seed=0):
    draw = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "wind": draw.normal(size=rows),
            "moment": draw.integers(1_357_000_000, 1_388_000_000, rows).astype(float),
            "holiday": (draw.random(rows) < 0.3).astype(float),
            "origin": draw.choice(["JFK", "EWR", "LGA", "rare"], rows, p=[0.4, 0.3, 0.295, 0.005]),
            "city": draw.choice([f"city {number}" for number in range(40)], rows),
            "empty": np.nan,
        }
    ).astype({"origin": object, "city": object})
    found.loc[::7, "wind"] = np.nan
    found.loc[::5, "origin"] = None
    found.loc[::9, "city"] = None
    return found


def labels(task, rows):
    noise = np.random.default_rng(1).normal(size=len(rows)) / 4
    city = pd.to_numeric(rows["city"].str[5:]).fillna(20) / 20
    value = 2 * rows["wind"].fillna(1) + 2 * (rows["origin"] == "JFK") + city + rows["holiday"] + noise
    if task == "binary":
        return (value > value.median()).astype(np.int8)
    if task == "multiclass":
        return pd.Series(np.digitize(value, np.quantile(value, [0.3, 0.6])).astype(np.int32))
    return value * 100


def fit(name, task, rows, target):
    [family] = ready_spec([name], task).families
    params = candidates(ready_spec([name], task), trials=1, seed=0)[0]["params"]
    return list(islice(family.fit(params, rows, target), 2))[-1]


@cache
def fitted(name, task):
    """Return a model of the table, fitted once for all tests."""
    rows = table()
    return fit(name, task, rows, labels(task, rows))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_learns_is_saved_and_answers_the_same(name, task):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    rows, judge = table(), make_task(TARGETS[task], str)
    target = labels(task, rows)
    model = fitted(name, task)
    answers = judge.answers(model, rows)
    found = judge.evaluate(target.to_numpy(), answers)
    least = {"roc_auc": 0.85, "neg_log_loss": -0.8, "r2": 0.3}[judge.metric]
    assert found[judge.metric] > least, found
    trusted = trusted_types(model, ready_spec([name], task).trusted_types)
    saved = skops.io.dumps(model)
    assert trusted == sorted(skops.io.get_untrusted_types(data=saved))
    again = skops.io.loads(saved, trusted=trusted)
    assert np.array_equal(judge.answers(again, rows), answers)
    assert np.array_equal(judge.answers(fit(name, task, rows, target), rows), answers)  # the seed is fixed


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_compiled_and_answers_the_same(name, task):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    rows, judge = table(), make_task(TARGETS[task], str)
    model = fitted(name, task)
    found = compile_model(model, rows, judge)
    assert isinstance(found, CompiledModel), found
    words = [place for place, kind in enumerate(found.kinds) if kind == "word"]
    session = open_session(found.content, found.features, words)
    strange = pd.concat([rows.iloc[:300], strange_rows()], ignore_index=True)
    parity = compare_answers(lambda frame: judge.answers(model, frame), session.predict, strange, judge)
    assert parity.passed, str(parity)
    assert parity.unknown == "answered"


def strange_rows():
    """Unknown categories, text that is missing or empty, and numbers far away."""
    strange = table().iloc[:4].copy()
    strange["origin"] = ["no such origin", None, "", "JFK"]
    strange["city"] = ["no such city", None, "", "city 1"]
    strange["wind"] = [np.nan, 0.0, 1e6, -1e6]
    return strange


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_that_training_never_saw_the_like_of_are_answered(name):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    model = fitted(name, "binary")
    assert np.isfinite(model.predict_proba(strange_rows())).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_class_without_a_row_does_not_stop_a_family(name):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    rows = table()
    target = labels("multiclass", rows).replace({1: 2})
    answers = make_task(TARGETS["multiclass"], str).answers(fit(name, "multiclass", rows, target), rows)
    assert answers.shape == (ROWS, 4)
    assert answers[:, [1, 3]].max() < 1e-3
    assert ((answers[:, 2] > 0.5) == (target == 2)).mean() > 0.75


def test_every_family_of_the_settings_is_there():
    assert set(FAMILIES) == set(get_args(FamilyName))


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(ready_families.FAMILIES, "linear", "no_such_package")
    with pytest.raises(ConfigError, match="linear needs the package no_such_package") as caught:
        ready_spec(["linear"], "binary")
    assert "pip install 'tidemill[no_such_package]'" in caught.value.hint


def test_the_task_custom_has_no_ready_family():
    with pytest.raises(ConfigError, match="no ready-made family answers for the task custom"):
        ready_spec(["linear"], "custom")


def test_a_table_without_any_value_is_refused():
    rows = pd.DataFrame({"wind": [np.nan] * 4})
    with pytest.raises(TrainingError, match="no feature has a value"):
        fit("linear", "binary", rows, pd.Series([0, 1, 0, 1]))
