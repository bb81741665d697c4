"""The example that learns online: from each label once, and it stays right while the rule turns."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from skops.io import dumps, get_untrusted_types, loads

from tidemill.project import open_folder
from tidemill.retraining.policies import load_policies

pytest.importorskip("river")
FOLDER = Path(__file__).parents[2] / "examples" / "online"


def module(name: str, folder: str) -> Any:
    spec = spec_from_file_location(f"online_{name}", FOLDER / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def learner():
    return module("learner", "learning")


@pytest.fixture(scope="module")
def rows():
    table = module("ingest", "pipelines").readings()
    features = table.select("flow", "pressure", "heat").to_pandas()
    return features, (table["blocked"] == "yes").cast(int).to_pandas()


def test_what_it_learns_from_each_label_stays_right_while_the_rule_turns(learner, rows):
    (features, labels), online, scores = rows, learner.Learner(rate=0.05), []
    for row, label in zip(features.to_dict("records"), labels, strict=True):
        scores.append(online.score(row))  # before it knows the label
        online.learn(row, bool(label))
    once = LogisticRegression().fit(features[:960], labels[:960]).predict_proba(features)[:, 1]
    assert roc_auc_score(labels[-480:], scores[-480:]) > 0.85
    assert roc_auc_score(labels[-480:], once[-480:]) < 0.75


def test_a_version_answers_as_the_learner_did_when_it_was_recorded(learner, rows):
    features, labels = (part[:500] for part in rows)
    online = learner.Learner(rate=0.05)
    for row, label in zip(features.to_dict("records"), labels, strict=True):
        online.learn(row, bool(label))
    (family,) = learner.spec.families
    (version,) = family.fit({"rate": 0.05}, features, labels)
    answers = version.predict_proba(features)[:, 1]
    assert answers == pytest.approx(np.array([online.score(row) for row in features.to_dict("records")]))
    assert get_untrusted_types(data=dumps(version)) == [], "it is saved without code"


def test_a_version_goes_on_from_another_as_if_it_had_learnt_all_in_one_pass(learner, rows):
    features, labels = rows
    (family,) = learner.spec.families
    (whole,) = family.fit({"rate": 0.05}, features[:700], labels[:700])
    (part,) = family.fit({"rate": 0.05}, features[:500], labels[:500])
    saved = loads(dumps(part))
    (gone_on,) = family.go_on(saved, {"rate": 0.05}, features[500:700], labels[500:700])
    answers = [model.predict_proba(features) for model in (whole, gone_on)]
    assert np.array_equal(*answers)
    assert not np.array_equal(part.predict_proba(features), answers[0])


def test_a_version_is_recorded_after_so_many_labels():
    (policy,) = load_policies(open_folder(FOLDER))
    assert [each.new_labels for each in policy.conditions] == [168]
    assert policy.recipe.search == "warm"
