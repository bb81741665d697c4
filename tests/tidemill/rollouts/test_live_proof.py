"""What a version must show on live rows: by plain rules, over logged rows, and in a played past."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.tidemill.rollouts.test_step_checks import GOOD
from tidemill.errors import RegistryError
from tidemill.project.project_config import GateConfig
from tidemill.project.serve_config import ProofConfig, RolloutConfig
from tidemill.rollouts import live_proof
from tidemill.rollouts.enough_traffic import rows_needed
from tidemill.rollouts.live_proof import Proof, compare_live, measure_proof
from tidemill.rollouts.step_checks import judge
from tidemill.state.tables import Rollout
from tidemill.tasks.binary import Binary

TASK = Binary("roc_auc")
BEGAN = datetime(2013, 4, 1, tzinfo=UTC)
PLAN = RolloutConfig.model_validate({"proof": {"days": 10, "min_labels": 100}})
ROWS = 2400


def told(proof: Proof | None, **changes: Any):
    return judge(PLAN, 0, replace(GOOD, proof=proof, minutes=10 * 24 * 60 + 11, **changes))


def test_the_first_step_waits_for_the_proof_and_ends_by_it():
    waits = told(Proof(None, "9.0 of 10 days over in which it has to be better"))
    assert (waits.action, waits.reason) == ("wait", "9.0 of 10 days over in which it has to be better")
    worse = told(Proof(False, "a gain of -0.0100"))
    assert (worse.action, worse.reason) == (
        "roll_back",
        "it is not better on live rows: a gain of -0.0100",
    )
    better = told(Proof(True, "a gain of +0.0100", {"gain": 0.01}))
    assert (better.action, better.numbers["proof"]) == ("advance", {"gain": 0.01})
    assert "a gain of +0.0100" in better.checks
    assert told(None).action == "advance"


def test_labels_are_waited_for_until_the_step_is_given_up():
    missing = Proof(None, "12 of 100 labels of these days known, to tell whether it is better")
    assert told(missing).action == "wait"
    late = judge(PLAN, 0, replace(GOOD, proof=missing, minutes=(10 + 1.1) * 24 * 60))
    assert late.action == "roll_back"
    assert late.reason.startswith("the step did not end within 264 hours: 12 of 100 labels")
    assert [PLAN.late_after(step) for step in (0, 1)] == [264, 24]


def test_with_days_for_the_first_step_less_traffic_is_enough():
    assert (rows_needed(PLAN), rows_needed(RolloutConfig())) == (2000, 20_000)


def world(better: float) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return labels, answers of a version and of the champion, and days: 0 is as good as the champion."""
    random = np.random.default_rng(3)
    signal = random.normal(size=ROWS)
    truth = (signal + random.normal(size=ROWS) > 0).astype(int)
    mine, theirs = (signal + spread * random.normal(size=ROWS) for spread in (1.0 - better, 1.0))
    as_chances = tuple(1 / (1 + np.exp(-each)) for each in (mine, theirs))
    return truth, (as_chances[0], as_chances[1]), np.arange(ROWS) // 240


@pytest.mark.parametrize(
    ("better", "passes"), [(0.6, (1, 1, 1)), (0.12, (1, 1, 0)), (0.03, (1, 0, 0)), (-0.6, (0, 0, 0))]
)
def test_both_sides_answer_the_same_rows_by_the_gate_s_rules(better: float, passes: tuple[int, int, int]):
    truth, answers, days = world(better)
    for by, expected in zip(("gain", "interval", "lasting"), passes, strict=True):
        config = ProofConfig.model_validate({"by": by})
        found = compare_live(TASK, GateConfig(floor=0.99), config, truth, answers, days, ("7", "6"))
        assert found.passed == expected
        assert "of version 7 against" in " ".join(found.reasons)
        assert not any("hold-out" in reason for reason in found.reasons)


def test_what_lasts_takes_a_week_at_least():
    truth, answers, days = world(0.6)
    few = compare_live(TASK, GateConfig(), ProofConfig(), truth, answers, days // 2)
    assert (few.passed, few.reasons[0]) == (
        False,
        "rows of fewer than 7 days do not tell what the days after bring",
    )
    with pytest.raises(ValueError, match=r"by: lasting needs 7 days or more, and days is 2: .* by: interval"):
        ProofConfig(days=2)


class Log:
    """A prediction log of one row every six minutes, whose labels are known two days later."""

    def __init__(self, better: float) -> None:
        truth, (self.mine, theirs), _ = world(better)
        at = [BEGAN + timedelta(minutes=6 * place) for place in range(ROWS)]
        self.rows = pl.DataFrame(
            {
                "at": at,
                "label_at": [moment + timedelta(days=2) for moment in at],
                "version": "6",
                "role": None,
                "flags": pl.Series([[]] * ROWS, dtype=pl.List(pl.String)),
                "score": theirs,
                "answer": pl.Series([None] * ROWS, dtype=pl.String),
                "label": truth,
                "target": pl.Series([None] * ROWS, dtype=pl.String),
                "feature.place": np.arange(float(ROWS)),
            }
        )

    def read(self, _root: Any, _model: str, start: datetime, end: datetime, known_by: datetime) -> Any:
        return self.rows.filter(
            pl.col("at").is_between(start, end, closed="left"), pl.col("label_at") <= known_by
        )

    def predict(self, features: Any) -> np.ndarray:
        return self.mine[features["place"].to_numpy().astype(int)]


def proof_of(monkeypatch: pytest.MonkeyPatch, now: datetime, better: float = 0.6, **changes: Any) -> Proof:
    """Ask for the proof of a rollout of version 7 at a moment; both versions know what was before it."""
    log = Log(better)
    scorer = SimpleNamespace(features=changes.pop("features", ("place",)), lists={}, predict=log.predict)
    lineage = SimpleNamespace(as_of=changes.pop("learnt", BEGAN))
    monkeypatch.setattr(live_proof, "read_labelled", log.read)
    monkeypatch.setattr(live_proof, "load_scorer", lambda _project, _version: scorer)
    monkeypatch.setattr(
        live_proof, "get_version", lambda _project, _version: SimpleNamespace(lineage=lineage)
    )
    project = SimpleNamespace(
        predictions=None, model="m", task=TASK, config=SimpleNamespace(gate=GateConfig(), serve=None)
    )
    rollout = Rollout(version="7", champion="6", at=BEGAN)
    config = ProofConfig.model_validate({"days": 7, "min_labels": 100, **changes})
    return measure_proof(project, rollout, config, now)  # type: ignore[arg-type]


def test_it_is_asked_once_when_the_days_are_over_and_their_labels_known(monkeypatch: pytest.MonkeyPatch):
    def at(days: float, **changes: Any) -> Proof:
        return proof_of(monkeypatch, BEGAN + timedelta(days=days), **changes)

    assert at(3.5) == Proof(None, "3.5 of 7 days over in which it has to be better")
    assert at(8).said == "labels of the last rows are known after 2 days, 0:00:00"
    assert (
        at(8, min_labels=5000).said
        == "1,441 of 5,000 labels of these days known, to tell whether it is better"
    )
    found = at(9)
    assert found.passed
    assert found.said.startswith("on 1,680 labels of 7 days: roc_auc ")
    assert not at(9, better=-0.6).passed


def test_rows_that_a_version_has_learnt_from_do_not_count(monkeypatch: pytest.MonkeyPatch):
    found = proof_of(monkeypatch, BEGAN + timedelta(days=8), learnt=BEGAN + timedelta(days=2))
    assert found.said == "6.0 of 7 days over in which it has to be better"


def test_a_version_whose_features_are_not_logged_goes_back_and_says_why(monkeypatch: pytest.MonkeyPatch):
    found = proof_of(monkeypatch, BEGAN + timedelta(days=9), features=("snow",))
    assert found.passed is False
    assert "needs features that the log does not have: snow" in found.said


def test_a_registry_that_is_away_decides_nothing(monkeypatch: pytest.MonkeyPatch):
    def away(*_: Any) -> Any:
        raise RegistryError("it does not answer")

    proof_of(monkeypatch, BEGAN)
    monkeypatch.setattr(live_proof, "get_version", away)
    rollout = Rollout(version="7", champion="6", at=BEGAN)
    found = measure_proof(SimpleNamespace(), rollout, ProofConfig(), BEGAN)  # type: ignore[arg-type]
    assert (found.passed, "it does not answer" in found.said) == (None, True)
