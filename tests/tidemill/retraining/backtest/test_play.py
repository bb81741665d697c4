"""A year of a small table is played: a world that turns over in July, and labels that are ten days late."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from tests.tidemill.retraining.test_policies import PROJECT
from tidemill.errors import ConfigError, TooManyFits, TrainingError
from tidemill.monitoring.monitor_config import Monitor
from tidemill.project import Project, load_project
from tidemill.project.serve_config import ProofConfig, RolloutConfig
from tidemill.retraining.backtest.backtest import BacktestRequest, play_all, span_of
from tidemill.retraining.backtest.fitted_models import Fitted, FittedModels, Recipe
from tidemill.retraining.backtest.past_monitors import PastMonitors
from tidemill.retraining.backtest.past_search import search_at
from tidemill.retraining.backtest.picture import as_svg
from tidemill.retraining.backtest.play import (
    play_always,
    play_never,
    play_oracle,
    play_policies,
    step_of,
)
from tidemill.retraining.backtest.played_past import Past
from tidemill.retraining.backtest.played_rollout import play_proof
from tidemill.retraining.backtest.played_turns import Played
from tidemill.retraining.backtest.strategies import PromotionRule, Strategy, rules_of, strategies_of
from tidemill.retraining.policies import Policy
from tidemill.training.model_spec import Family, TrainingSpec
from tidemill.training.tracking.reference_rows import ReferenceRows

pytestmark = pytest.mark.slow

START, END = datetime(2013, 4, 1, tzinfo=UTC), datetime(2013, 12, 1, tzinfo=UTC)
TURN = datetime(2013, 7, 1, tzinfo=UTC)
POLICY = Policy.model_validate({"name": "decay", "alerts": ["quality"], "cooldown": "21d"})
MONITOR = Monitor.model_validate(
    {
        "name": "m",
        "window": "21d",
        "every": "7d",
        "min_rows": 50,
        "min_labelled": 50,
        "quality": {"max_drop": 0.1},
    }
)


def fit(params: Any, features: Any, labels: Any):
    yield LogisticRegression().fit(features, labels)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("past")
    own = {
        "split": {"validation_days": 7, "holdout_days": 7},
        "gate": {"min_rows": 20},
        "train": {"max_rows": 1000},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump({**PROJECT, **own}))
    return load_project(folder)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    drawn = np.random.default_rng(0)
    at = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(24 * 334)]
    x = drawn.normal(size=len(at))
    sign = np.where([moment < TURN for moment in at], 1, -1)
    late = (sign * x + drawn.normal(size=len(at)) > 0).astype(int)
    known = [moment + timedelta(days=10) for moment in at]
    return pl.DataFrame({"event_timestamp": at, "label_known_at": known, "y": late, "x": x})


def past(project: Project, rows: pl.DataFrame, most_fits: int = 60, end: datetime = END) -> Past:
    recipe = Recipe(Family("line", {}, fit, rounds=1), {}, 1)
    models = FittedModels(project, rows, ("x",), recipe, None, most_fits, lambda _at, _rows: None)
    return Past(project, rows, ("x",), models, START, end)


def play(of: Past) -> Played:
    return play_policies("decay", of, Strategy((POLICY,)), [MONITOR], lambda _now: None)


@pytest.fixture(scope="module")
def decay(project: Project, rows: pl.DataFrame) -> tuple[Past, Played]:
    """The past, and what a policy makes of it."""
    of = past(project, rows)
    return of, play(of)


@pytest.mark.parametrize(("days", "month"), [(7, 4), (40, 5), (60, 6)])
def test_play_begins_when_enough_is_known_for_the_split(
    project: Project, rows: pl.DataFrame, days: int, month: int
):
    """A quarter of the time ends in March; labels are known ten days late."""
    split = project.config.split.model_copy(update={"validation_days": days, "holdout_days": days})
    of = replace(project, config=project.config.model_copy(update={"split": split}))
    start, _ = span_of(of, rows, BacktestRequest())
    assert start == datetime(2013, month, 1, tzinfo=UTC)
    models = FittedModels(of, rows, ("x",), Recipe(Family("line", {}, fit, 1), {}, 1), None, 1, print)
    assert models.at(start).holdout.height >= 20


def test_strategies_are_in_the_order_that_they_must_be(decay: tuple[Past, Played], rows: pl.DataFrame):
    of, decay = decay
    never, always = play_never(of), play_always(of)
    alone, oracle = play_oracle(of, []), play_oracle(of, [never, decay, always])
    better = replace(
        never, periods=tuple((month, 0.99) for month, _ in never.periods)
    )  # by more frequent turns
    assert never.mean < 0.5 < 0.6 < decay.mean
    assert max(never.mean, decay.mean, always.mean) <= oracle.mean
    assert always.mean <= alone.mean <= oracle.mean
    assert play_oracle(of, [better]).mean == pytest.approx(0.99)
    assert (len(never.turns), len(always.turns)) == (0, 7)
    assert all(turn.at >= TURN + timedelta(days=10) for turn in decay.turns)  # no label told it before
    assert any(turn.status == "promoted" and not turn.wrong for turn in decay.turns)
    lost = replace(of, rows=rows.with_columns(y=1 - pl.col("y")), _known={})  # all that was learnt is wrong
    new, old, places = of.models.at(END - timedelta(days=60)), of.models.at(START), of.places(TURN, END)
    good, bad = of.gained(new, old, places), lost.gained(new, old, places)
    assert good is not None
    assert bad is not None
    assert bad.high < 0 < good.low
    assert lost.gained(new, old, places[:0]) is None
    assert all(turn.error > 0 for turn in decay.turns if turn.passed and turn.gain is not None)
    assert [name for name, _ in decay.periods] == [f"2013-{month:02}" for month in range(4, 12)]
    picture = as_svg("delay", "roc_auc", [never, decay, always, oracle])
    assert picture.count("<polyline") == 4
    made = [turn for one in (decay, always, oracle) for turn in one.turns]
    promoted = [turn for turn in made if turn.status == "promoted"]
    assert picture.count("<circle") == len(promoted) > 1
    assert picture.count('r="4" fill="white"') == sum(turn.wrong for turn in promoted)


def test_nothing_is_known_before_its_time(project: Project, rows: pl.DataFrame, decay: tuple[Past, Played]):
    cut = datetime(2013, 9, 1, tzinfo=UTC)
    late = pl.col("label_known_at") > cut
    other = rows.with_columns(y=pl.when(late).then(1 - pl.col("y")).otherwise(pl.col("y")))
    before, after = decay[1], play(past(project, other))
    made = [
        [(turn.at, turn.status, turn.reason) for turn in one.turns if turn.at <= cut]
        for one in (before, after)
    ]
    assert made[0] == made[1] != []
    assert [turn.at for turn in before.turns] != [turn.at for turn in after.turns]


def test_a_monitor_that_runs_each_minute_is_played_at_a_thousand_moments():
    minutely = MONITOR.model_copy(update={"every": timedelta(minutes=1)})
    assert step_of([MONITOR, minutely], START, END) == (END - START) / 1000
    assert step_of([MONITOR], START, END) == timedelta(days=7)


def test_models_are_fitted_once(project: Project, rows: pl.DataFrame):
    of = past(project, rows)
    play_always(of)
    count = of.models.count
    play_oracle(of, [])
    play_never(of)
    assert of.models.count == count == 8


def test_what_takes_too_many_fits_is_left_out_and_the_others_are_kept(project: Project, rows: pl.DataFrame):
    said = list[tuple[str, str]]()
    few = past(project, rows, most_fits=3)
    played, left_out = play_all(few, {"decay": Strategy((POLICY,))}, [], lambda *told: said.append(told))
    assert ([each.name for each in played], left_out) == (["never", "decay"], ("always", "oracle"))
    assert ("always", "left out: the policies asked for more than 3 fits") in said
    months = past(project, rows, most_fits=8)
    played, left_out = play_all(months, {"decay": Strategy((POLICY,))}, [MONITOR], lambda *_: None)
    assert ([each.name for each in played], left_out) == (["never", "always", "oracle"], ("decay",))
    with pytest.raises(TooManyFits, match="more than 0 fits"):
        play_all(past(project, rows, most_fits=0), {}, [], lambda *_: None)


def test_a_refitted_model_is_judged_by_its_twin_and_knows_the_newest_rows(
    project: Project, rows: pl.DataFrame
):
    train = project.config.train.model_copy(update={"refit": True, "max_rows": None})
    again = replace(project, config=project.config.model_copy(update={"train": train}))
    of = past(again, rows)
    model = of.models.at(TURN)
    known = rows.filter(pl.col("label_known_at") <= TURN).height
    assert of.models.count == 2
    assert known - 1 <= model.rows <= known
    judged, serving = model.judged(model.holdout), model.answer(model.holdout)
    assert (judged != serving).any()
    found = project.task.evaluate(model.holdout["y"].to_numpy(), judged)
    assert found["roc_auc"] == model.metrics["roc_auc"]


def reversed_first(params: Any, features: Any, labels: Any):
    yield LogisticRegression().fit(features, 1 - labels)
    yield LogisticRegression().fit(features, labels)


def broken(params: Any, features: Any, labels: Any):
    raise ValueError("no such thing")
    yield


def test_parameters_are_those_of_the_best_trial_by_what_was_known(project: Project, rows: pl.DataFrame):
    train = project.config.train.model_copy(update={"trials": 2})
    split = project.config.split.model_copy(update={"validation_days": 30})
    config = project.config.model_copy(update={"train": train, "split": split})
    project = replace(project, config=config)
    families = Family("broken", {}, broken, 1), Family("turned", {}, reversed_first, 2)
    found = search_at(project, TrainingSpec(families), rows, ("x",), START, 500, lambda _done, _of: None)
    assert (found.family.name, found.rounds) == ("turned", 2)
    later = rows.with_columns(  # had it looked later, the first round would have been the better one
        y=pl.when(pl.col("label_known_at") > START).then(1 - pl.col("y")).otherwise(pl.col("y"))
    )
    again = search_at(project, TrainingSpec(families), later, ("x",), START, None, lambda _done, _of: None)
    assert again.rounds == 2
    with pytest.raises(TrainingError, match=r"all 2 trials failed .* no such thing"):
        search_at(project, TrainingSpec(families[:1]), rows, ("x",), START, None, lambda _done, _of: None)


def test_a_share_of_labels_counts_from_what_the_champion_knew(project: Project, rows: pl.DataFrame):
    grown = Policy.model_validate({"name": "grown", "any": [{"new_labels": "50%"}], "cooldown": "7d"})
    gate = project.config.gate.model_copy(update={"mode": "off"})
    of = replace(project, config=project.config.model_copy(update={"gate": gate}))
    made = play_policies("grown", past(of, rows), Strategy((grown,)), [MONITOR], lambda _now: None).turns
    known = [
        rows.filter(pl.col("label_known_at") <= at).height for at in (START, *(turn.at for turn in made))
    ]
    assert all(1.5 <= new / old <= 1.5 + 7 * 24 / old for old, new in pairwise(known))
    assert len(made) == 3


def test_a_turn_that_fails_is_counted(project: Project, rows: pl.DataFrame):
    of = past(project, rows)
    first = of.models.at(START)
    of.models.at = lambda moment, _windows=(): first if moment == START else _too_little()  # type: ignore[method-assign]
    found = play(of)
    assert {turn.status for turn in found.turns} == {"failed"}
    assert found.turns[0].reason == "too little"


def _too_little() -> Any:
    raise TrainingError("too little")


@pytest.mark.parametrize(("against", "weeks"), [("training", [1, 2, 3]), ("previous", [1])])
def test_windows_of_the_latest_rows_are_played_against_what_they_say(
    project: Project, rows: pl.DataFrame, against: str, weeks: list[int]
):
    monday = datetime(2013, 9, 2, tzinfo=UTC)
    moved = rows.with_columns(x=pl.col("x") + 3.0 * (pl.col("event_timestamp") >= monday))
    declared = {"name": "m", "window": {"rows": 168}, "every": "7d", "min_rows": 50, "against": against}
    monitor = Monitor.model_validate({**declared, "data_drift": {"share": 1}})
    of = past(project, moved)
    model, monitors = of.models.at(START), PastMonitors(project, [monitor], ("x",))
    answers, found = of.answers(model), []
    for week in range(4):
        now = monday + timedelta(days=7 * week)
        alerts = monitors.alerts(model, START, moved, answers, now)
        found += [week] * any(alert.kind == "data_drift" for alert in alerts)
    assert found == weeks


def test_a_drop_that_great_errors_hide_is_found_in_the_past_as_in_production(tmp_path):
    """The usual errors are compared, too: twenty windows of doubled errors with a heavy tail."""
    own = {"project": {**PROJECT["project"], "task": "regression"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**PROJECT, **own}))
    declared = {"name": "m", "window": "21d", "every": "7d", "min_rows": 50, "min_labelled": 50}
    monitor = Monitor.model_validate({**declared, "quality": {}})
    project, names = load_project(tmp_path), ("x",)

    def drawn(count: int, seed: int, factor: float = 1.0) -> pl.DataFrame:
        random = np.random.default_rng(seed)
        at = [START + timedelta(hours=n) for n in range(count)]
        error = factor * np.exp(2 * random.normal(size=count)) * random.choice([-1, 1], count)
        return pl.DataFrame({"event_timestamp": at, "label_known_at": at, "y": error, "x": np.zeros(count)})

    held = drawn(1000, 1000)
    reference = ReferenceRows(
        held.select(names), held["y"], held["x"], held_out=held.select(names), held_out_labels=held["y"]
    )
    metrics = {"neg_mae": -float(held["y"].abs().mean()), "rows": 1000.0}
    model = Fitted(START, 1000, 0.0, held, metrics, reference, lambda rows: np.zeros(rows.height))

    def told(factor: float) -> list[str]:
        found: list[str] = []
        for seed in range(20):
            rows, now = drawn(300, seed, factor), START + timedelta(days=13)
            alerts = PastMonitors(project, [monitor], names).alerts(
                model, START, rows, np.zeros(rows.height), now
            )
            found += [alert.message for alert in alerts if alert.kind == "quality"]
        return found

    assert len(told(1.0)) <= 1
    assert len(doubled := told(2.0)) >= 15
    assert any("the usual errors have grown by" in message for message in doubled)


def test_a_rollout_s_proof_is_played_on_the_days_that_follow(project: Project, rows: pl.DataFrame):
    """Labels are known ten days late, so a week of proof ends after 17 days."""
    of, now = past(project, rows), TURN + timedelta(days=60)
    old, new = of.models.at(START), of.models.at(now)
    week = ProofConfig.model_validate({"days": 7, "by": "gain", "min_labels": 100})
    ended = now + timedelta(days=17)
    assert play_proof(of, old, new, now, week)[:2] == ("promoted", ended)
    *worse, why, unproven = play_proof(of, new, old, now, week)
    assert not unproven
    assert worse == ["rolled_back", ended]
    assert f"of version {now:%Y-%m-%d} against 0.8493 of champion {now:%Y-%m-%d}: a gain of -0.6986" in why
    few = week.model_copy(update={"min_labels": 500})
    assert play_proof(of, old, new, now, few) == (
        "rolled_back",
        ended,
        "168 labels in 7 days, 500 are needed",
        True,
    )
    ends = ("rollout", END, "the play ends before", False)
    assert play_proof(of, old, new, END - timedelta(days=17), week) == ends


def test_proofs_are_played_beside_each_other_on_the_same_models(project: Project, rows: pl.DataFrame):
    grown = Policy.model_validate({"name": "grown", "any": [{"new_labels": 24}], "cooldown": "1d"})
    rollout = RolloutConfig.model_validate({"proof": {"days": 7, "min_labels": 100}})
    gate = project.config.gate.model_copy(update={"mode": "off"})
    serve = project.config.serve.model_copy(update={"rollout": rollout})
    config = project.config.model_copy(update={"gate": gate, "serve": serve})
    of = replace(past(replace(project, config=config), rows), start=TURN)
    strategies = strategies_of([grown], rules_of((), ("none", "gain")), together=True)
    played, _ = play_all(of, strategies, [], lambda *_: None)
    assert [each.name for each in played] == [
        "never", "grown, no proof", "grown, proof gain", "always", "oracle",
    ]  # fmt: skip
    _, at_once, found, *_ = played
    gaps = [later.at - earlier.at for earlier, later in pairwise(found.turns)]
    assert min(gaps) == timedelta(days=21), "one turn is under way at a time, and the steps are weeks"
    assert {turn.status for turn in found.turns} >= {"promoted", "rolled_back"}
    assert len(at_once.turns) > len(found.turns)
    assert {turn.status for turn in at_once.turns} == {"promoted"}
    made = {turn.at for turn in (*at_once.turns, *found.turns)}
    assert of.models.count <= len(made) + 5, "five months, and models are fitted once for all"
    promoting = grown.model_copy(update={"action": "promote"})
    alone = play_policies("grown", of, Strategy((promoting,)), [], lambda _now: None)
    assert alone.turns == at_once.turns, "only rollouts have a proof, and params.yaml declares one here"


def test_a_rule_takes_the_place_of_the_declared_gate_and_proof(project: Project):
    rollout = RolloutConfig.model_validate({"proof": {"days": 3, "by": "gain", "min_gain": -0.01}})
    serve = project.config.serve.model_copy(update={"rollout": rollout})
    declared = replace(project, config=project.config.model_copy(update={"serve": serve}))
    strict = PromotionRule("interval", "interval").applied(declared).config
    assert strict.gate == project.config.gate.model_copy(update={"by": "interval"})
    assert strict.serve.rollout.proof == ProofConfig(days=3, by="interval", min_gain=-0.01)
    assert PromotionRule().applied(declared).config == declared.config
    assert PromotionRule(proof="none").applied(declared).config.serve.rollout.proof is None
    assert PromotionRule(proof="lasting").applied(project).config.serve.rollout.proof == ProofConfig()
    with pytest.raises(ConfigError, match=r"the proof lasting cannot be played: .* needs 7 days or more"):
        PromotionRule(proof="lasting").applied(declared)
