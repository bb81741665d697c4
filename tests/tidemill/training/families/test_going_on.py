"""Families that go on from an earlier model: what that one learnt stays, and new rows change the answers."""

from itertools import islice

import numpy as np
import pytest
import skops.io

from tests.tidemill.training.families.test_ready_families import TARGETS, TASKS, fit, labels, table
from tidemill.tasks.task_choice import Target, make_task
from tidemill.training.compiling.compiler import compile_model
from tidemill.training.compiling.onnx_session import open_session
from tidemill.training.compiling.parity import compare_answers
from tidemill.training.distributed import Saved
from tidemill.training.families.ready_families import FAMILIES, GO_ON, ready_spec
from tidemill.training.fitting.packaging import trusted_types
from tidemill.training.search.proposals import candidates

pytestmark = pytest.mark.engine


def gone_on(name, task, earlier, rows, target):
    [family] = ready_spec([name], task).families
    params = candidates(ready_spec([name], task), trials=1, seed=0)[0]["params"]
    return list(family.go_on(earlier, params, rows, target))[-1]


def turned(task, rows):
    """Labels of a world in which the wind has come to mean the opposite."""
    return labels(task, rows.assign(wind=-rows["wind"]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", sorted(GO_ON))
def test_it_learns_from_new_rows_and_keeps_the_trees_that_it_had(name, task):
    pytest.importorskip(name)
    target = Target("multiclass", classes=("a", "b", "c")) if task == "multiclass" else TARGETS[task]
    judge, rows, new = make_task(target, str), table(), table(seed=5)
    before = fit(name, task, rows, labels(task, rows))
    answers = judge.answers(before, new)
    truth = turned(task, new)
    after = gone_on(name, task, before, new, truth)
    assert np.array_equal(judge.answers(before, new), answers), "the earlier one stays as it is"
    assert np.array_equal(
        judge.answers(gone_on(name, task, before, new, truth), new), judge.answers(after, new)
    )
    worth = [
        judge.evaluate(truth.to_numpy(), judge.answers(one, new))[judge.metric] for one in (before, after)
    ]
    assert worth[1] > worth[0] + 0.01, worth
    margins = margins_of(name, before, new), margins_of(name, after, new, like=before)
    assert np.allclose(*margins, atol=1e-5), "its first trees are those of the earlier one"
    again = skops.io.loads(skops.io.dumps(after), trusted=trusted_types(after, ()))
    assert np.array_equal(judge.answers(again, new), judge.answers(after, new))
    found = compile_model(after, new, judge)
    words = [place for place, kind in enumerate(found.kinds) if kind == "word"]
    session = open_session(found.content, found.features, words)
    parity = compare_answers(
        lambda frame: judge.answers(after, frame), session.predict, new.iloc[:200], judge
    )
    assert parity.passed, str(parity)


def margins_of(name, model, rows, like=None):
    """Return the margins by as many trees as ``like`` has."""
    prepared, own = model["prepare"].transform(rows), model["model"]
    if name == "xgboost":
        most = (like or model)["model"].get_booster().num_boosted_rounds()
        return own.predict(prepared, output_margin=True, iteration_range=(0, most))
    most = (like or model)["model"].booster_.current_iteration()
    return own.predict(prepared, raw_score=True, num_iteration=most)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_list_says_which_families_can(name):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    [family] = ready_spec([name], "binary").families
    assert (family.go_on is not None) == (name in GO_ON)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"linear"}))
def test_a_fit_that_was_cut_off_gives_the_model_that_it_would_have(name):
    pytest.importorskip(FAMILIES[name] or "sklearn")
    rows = table()
    truth = labels("binary", rows)
    spec = ready_spec([name], "binary")
    params = candidates(spec, trials=1, seed=0)[0]["params"]
    whole = [
        (estimator.predict_proba(rows), state())
        for estimator, state in islice(spec.family(name).steps(params, rows, truth, None), 2)
    ]
    rest = spec.family(name).steps(params, rows, truth, Saved(1, whole[0][1]))
    assert np.array_equal(next(rest)[0].predict_proba(rows), whole[1][0])
    assert not np.array_equal(whole[0][0], whole[1][0])
    if name in ("lightgbm", "catboost"):
        return  # each of their rounds begins anew
    free = "learning_rate" if "learning_rate" in params else "max_features"
    others = {**params, free: params[free] / 2}
    changed, _ = next(spec.family(name).steps(others, rows, truth, Saved(1, whole[0][1])))
    assert not np.array_equal(changed.predict_proba(rows), whole[1][0]), "other parameters count from here on"
