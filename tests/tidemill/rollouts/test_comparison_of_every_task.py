"""Versions are compared by the metric of their task, in its units, whatever an answer is."""

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tests.tidemill.rollouts.test_version_comparison import NOW, Declared, deployment
from tidemill.project.serve_config import RolloutConfig
from tidemill.registry.versions.loaded_model import Scorer
from tidemill.rollouts.comparison_periods import Periods
from tidemill.rollouts.experiment_data import arm
from tidemill.rollouts.experiment_reports import _answers_of
from tidemill.rollouts.group_differences import metric
from tidemill.rollouts.step_checks import CanaryMetrics, judge
from tidemill.rollouts.version_comparison import compare_keys, compare_shadow
from tidemill.serving.observability.version_counters import Count
from tidemill.tasks.custom import Custom
from tidemill.tasks.multiclass import Multiclass
from tidemill.tasks.regression import Regression
from tidemill.tasks.task import Task

CLASSES = ("calm", "gale", "storm")


def hits(truth, answers) -> float:
    return float(np.mean([one == given for one, given in zip(truth, answers, strict=True)]))


TASKS = {
    "regression": Regression("neg_mae"),
    "multiclass": Multiclass("accuracy", classes=CLASSES),
    "custom": Custom("own:hits", {"own:hits": hits}),
}


def answered(task: Task, right: np.ndarray, seed: int) -> tuple[np.ndarray, list[object]]:
    """Return answers and labels, where only those of ``right`` are right."""
    truth = np.random.default_rng(seed).integers(0, 3, len(right))
    given = np.where(right, truth, (truth + 1) % 3)
    if task.kind == "regression":
        return given.astype(np.float64), truth.tolist()
    if task.kind == "multiclass":
        return np.eye(3)[given] * 0.7 + 0.1, [CLASSES[one] for one in truth]
    answers = np.empty(len(right), dtype=object)
    answers[:] = [CLASSES[one] for one in given]
    return answers, [CLASSES[one] for one in truth]


def rows(task: Task, version: str, role: str, right: np.ndarray, seed: int = 0) -> pl.DataFrame:
    answers, labels = answered(task, right, seed)
    given = [task.label_given(one) for one in labels]
    count = len(right)
    return pl.DataFrame(
        {
            "prediction_id": [f"{version}-{n}" for n in range(count)],
            "version": [version] * count,
            "role": [role] * count,
            "score": pl.Series(task.scores(answers), dtype=pl.Float64).fill_nan(None),
            "answer": pl.Series([task.logged(one) for one in answers], dtype=pl.String),
            "decision": ["{}"] * count,
            "flags": pl.Series([[]] * count, dtype=pl.List(pl.String)),
            "served_at": [NOW + timedelta(seconds=1)] * count,
            "shadow_of": pl.Series(
                [f"1-{n}" if role == "shadow" else None for n in range(count)], dtype=pl.String
            ),
            "key": [f"{role}{n // 2}" for n in range(count)],
            "label": pl.Series([label for label, _ in given], dtype=pl.Int64),
            "target": pl.Series([target for _, target in given], dtype=pl.String),
        }
    )


@pytest.mark.parametrize("kind", TASKS)
def test_an_experiment_is_judged_by_the_metric_of_the_task(kind):
    task, draw = TASKS[kind], np.random.default_rng(1)
    mine = rows(task, "2", "ab:fee", draw.random(800) < 0.9, seed=2)
    theirs = rows(task, "1", "champion", draw.random(800) < 0.6, seed=3)
    unlabelled = mine.head(50).with_columns(target=pl.lit(None, pl.String))
    row = deployment()
    found = compare_keys(
        Declared(task=task), pl.concat([mine, theirs, unlabelled]), row, "1", [row], Periods()
    )
    assert found.answers == (850, 800)
    assert found.labelled == (800, 800)
    truth, given = task.truth_of_log(mine), task.given_in_log(mine)
    assert found.quality.ours == pytest.approx(task.evaluate(truth, given)[task.metric])
    assert found.quality.low > 0
    shown = [f"{abs(one):.4f}" for one in (found.quality.ours, found.quality.theirs)]
    named, remark = {"regression": ("mae", " (lower is better)"), "custom": ("hits", "")}.get(
        kind, (task.metric, "")
    )
    told = f"champion 1: {named} {shown[0]} instead of {shown[1]}{remark}, a gain of +0."
    assert told in found.says[0], found.says
    assert (found.score is None) == (kind == "custom"), "answers that are text have no mean"
    weighed = [one.with_columns(weight=pl.lit(share)) for one, share in ((mine, 0.3), (theirs, 0.7))]
    again = metric(task, *(arm(task, one, True) for one in weighed))
    assert again.ours == pytest.approx(found.quality.ours), "shares of periods are weights below 1"


@pytest.mark.parametrize("kind", TASKS)
def test_a_shadow_is_compared_on_the_same_rows(kind):
    task = TASKS[kind]
    right = np.arange(400) % 10 > 0
    champion, shadow = rows(task, "1", "champion", right), rows(task, "2", "shadow", np.ones(400, dtype=bool))
    found = compare_shadow(Declared(task=task), pl.concat([champion, shadow]), deployment("shadow"), "1")
    assert found.answers == 400
    assert found.quality.ours == pytest.approx({"regression": 0.0}.get(kind, 1.0))
    assert found.quality.gain > 0.05
    assert found.other_class == {"regression": None}.get(kind, pytest.approx(0.1))
    assert all("None" not in sentence and "neg_" not in sentence for sentence in found.says)
    if kind == "regression":
        assert found.says[-1].startswith("mae 0.0000 instead of 0.1")
        assert "(lower is better): the gain of +0.1" in found.says[-1]
    if kind == "custom":
        assert found.says[:2] == (
            "400 requests were answered by both",
            "10.0 % of the answers would have been another class",
        )


def test_a_rollout_allows_a_loss_in_units_of_the_metric():
    task, draw = TASKS["regression"], np.random.default_rng(0)
    theirs = rows(task, "1", "champion", draw.random(4000) < 0.5, seed=1)
    near = rows(task, "2", "canary", draw.random(4000) < 0.49, seed=2)
    far = rows(task, "2", "canary", draw.random(4000) < 0.2, seed=2)
    differences = [metric(task, arm(task, ours, True), arm(task, theirs, True)) for ours in (near, far)]
    count = Count(answered=900)
    facts = [CanaryMetrics(60.0, 1, 1, None, count, count, quality=one) for one in differences]
    plan = RolloutConfig.model_validate(RolloutConfig().recorded())  # as a rollout under way reads it
    assert [judge(plan, 0, one).action for one in facts] == ["advance", "roll_back"]
    assert judge(RolloutConfig(max_loss=1.0), 0, facts[1]).action == "advance"
    plan, minutes = RolloutConfig(), -20.0
    assert plan.loss_allowed("neg_mae", minutes) == pytest.approx(1.0)
    assert plan.loss_allowed("roc_auc", 0.8) == 0.02
    assert RolloutConfig(max_loss=0.3).loss_allowed("neg_mae", minutes) == 0.3


def test_a_challenger_answers_logged_rows_with_text_features():
    task = TASKS["multiclass"]

    def by_name(frame):
        assert frame["carrier"].tolist() == ["AA", None]
        assert frame["wind"].tolist() == [3.0, 4.0]
        return np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])

    scorer = Scorer("2", ("carrier", "wind"), by_name, by_name=by_name, task=task)
    logged = pl.DataFrame({"feature.wind": [3.0, 4.0], "feature.carrier": ["AA", None], "score": [0.1, 0.2]})
    answers, scores = _answers_of(scorer, logged)
    assert scores == [0.8, 0.8]
    assert [json.loads(one)["storm"] for one in answers] == [0.1, 0.8]
    assert _answers_of(scorer, logged.clear()) == ([], [])
