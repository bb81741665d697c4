from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import ConfigError
from tidemill.project import load_project
from tidemill.retraining.policies import Policy, load_policies
from tidemill.retraining.policy_facts import AlertFact, Hold, Retrain, TurnFact
from tidemill.retraining.policy_rules import decide

DAY = timedelta(days=1)
START = datetime(2013, 4, 1, tzinfo=UTC)
POLICY = Policy(name="decay", alerts=("quality", "data_drift"), cooldown=28 * DAY, retry_after=DAY)


def alert(kind: str = "quality", day: int = 0, monitor: str = "delay") -> AlertFact:
    return AlertFact(f"{kind}-{day}", monitor, kind, f"{kind} is bad", START + day * DAY, START + day * DAY)


def test_nothing_wrong_nothing_due():
    assert decide([POLICY], [], [TurnFact("promoted", START)], START + 100 * DAY) is None


def test_an_alert_becomes_a_turn_with_its_reason():
    decision = decide([POLICY], [alert()], [], START)
    assert isinstance(decision, Retrain)
    assert decision.reason == "decay: quality is bad"


def test_an_alert_that_nobody_sees_any_more_is_history():
    policy = POLICY.model_copy(update={"max_age": 14 * DAY})
    assert decide([policy], [alert()], [], START + 15 * DAY) is None
    assert isinstance(decide([policy], [alert()], [], START + 14 * DAY), Retrain)


def test_the_kinds_are_in_the_order_of_their_precedence():
    decision = decide([POLICY], [alert("data_drift", 0), alert("quality", 5)], [], START + 6 * DAY)
    assert isinstance(decision, Retrain)
    assert decision.alert.kind == "quality"


def test_a_policy_listens_to_its_monitors_only():
    policy = POLICY.model_copy(update={"monitors": ("other",)})
    assert decide([policy], [alert()], [], START) is None


def test_never_two_at_once():
    decision = decide([POLICY], [alert()], [TurnFact("running", START - 100 * DAY)], START)
    assert isinstance(decision, Hold)
    assert "under way" in decision.reason


@pytest.mark.parametrize("status", ["promoted", "refused", "registered"])
def test_the_cool_down_counts_every_end(status: str):
    turns = [TurnFact(status, START)]
    alerts = [alert(day=28)]
    assert isinstance(decide([POLICY], alerts, turns, START + 28 * DAY - timedelta(seconds=1)), Hold)
    assert isinstance(decide([POLICY], alerts, turns, START + 28 * DAY), Retrain)


def test_a_failure_is_tried_again_sooner():
    turns = [TurnFact("promoted", START - 60 * DAY), TurnFact("failed", START)]
    held = decide([POLICY], [alert()], turns, START + DAY / 2)
    assert isinstance(held, Hold)
    assert held.reason == "cooling down until 2013-04-02 00:00 UTC (retry_after), as a turn failed"
    assert isinstance(decide([POLICY], [alert()], turns, START + DAY), Retrain)


def test_a_failure_counts_no_more_once_a_later_turn_came_to_an_end():
    quick = POLICY.model_copy(update={"cooldown": timedelta(minutes=5)})
    turns = [TurnFact("failed", START), TurnFact("promoted", START + timedelta(minutes=1))]
    assert isinstance(decide([quick], [alert()], turns, START + timedelta(minutes=7)), Retrain)


@given(
    noise=st.lists(st.integers(min_value=0, max_value=300), max_size=60),
    cooldown=st.integers(min_value=1, max_value=60),
)
def test_turns_are_never_closer_than_the_cool_down(noise: list[int], cooldown: int):
    policy = POLICY.model_copy(update={"cooldown": cooldown * DAY})
    turns: list[TurnFact] = []
    for day in sorted(noise):
        decision = decide([policy], [alert(day=day)], turns, START + day * DAY)
        if isinstance(decision, Retrain):
            turns.append(TurnFact("refused", START + day * DAY))
    moments = [turn.as_of for turn in turns]
    assert all(later - earlier >= cooldown * DAY for earlier, later in pairwise(moments))
    assert bool(turns) == bool(noise)


PROJECT = {
    "project": {"name": "toys", "model": "toy", "training": "mine:spec", "application": "mine:application"},
    "dataset": {"path": "data/set.parquet", "label": "y"},
    "features": {"service": "toy"},
}


def project_with(folder: Path, policies: object):
    (folder / "params.yaml").write_text(yaml.safe_dump(PROJECT))
    if policies is not None:
        (folder / "monitoring").mkdir()
        (folder / "monitoring" / "policies.yaml").write_text(yaml.safe_dump({"policies": policies}))
    return load_project(folder)


def test_a_project_without_policies(tmp_path: Path):
    assert load_policies(project_with(tmp_path, None)) == ()


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        (
            [{"name": "a", "alerts": ["weather"]}],
            r"policies\.yaml is wrong: policy 'a': alerts\.0: .* \(line \d+\)",
        ),
        ([{"name": "a", "alerts": ["quality"], "cooldown": "soon"}], "policy 'a': cooldown: "),
        ([{"name": "a", "alerts": []}], "policy 'a': alerts: "),
        ([{"name": "a", "alerts": ["quality"]}] * 2, r"policies\.1\.name: 'a' is declared twice.*\(line \d"),
        ([{"name": "a", "alerts": ["quality"], "recipe": {"serch": "full"}}], "serch: .*is 'search' meant"),
        ([{"name": "a", "any": [{"new_labels": 0}]}], r"any\.0\.new_labels: 0 is neither a number of labels"),
        (
            [{"name": "a", "alerts": ["quality"], "recipe": {"search": "warm", "windows": [{"last": "9d"}]}}],
            "recipe: search: warm learns from the rows that are new to the champion: remove windows",
        ),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, policies: object, said: str):
    with pytest.raises(ConfigError, match=said):
        load_policies(project_with(tmp_path, policies))
