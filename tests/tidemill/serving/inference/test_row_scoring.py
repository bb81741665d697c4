"""Scores by several versions at once, and what becomes of one that fails; copies for shadows."""

import threading
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pytest

from tidemill.features.request_features import FeatureRow
from tidemill.prediction_log.prediction_log import PredictionRecord
from tidemill.serving.inference.calls import Call, Refused
from tidemill.serving.inference.row_scoring import FALLBACK, ModelFailed, Row, score_rows
from tidemill.serving.observability.version_counters import VersionCounters
from tidemill.serving.routing.loaded_version import LoadedModel
from tidemill.serving.routing.shadows import ServedRow, Shadows
from tidemill.serving.routing.traffic_split import NAMED, DeployedVersion, ServingVersions
from tidemill.tasks.binary import Binary

NOW = datetime(2013, 4, 1, tzinfo=UTC)


class Constant:
    """A model that answers one number, or fails."""

    features = ("wind",)
    task, words, mixed, lists = Binary(""), (), None, MappingProxyType({})

    def __init__(self, answer):
        self.answer = answer

    def score(self, matrix):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full(len(matrix), self.answer)


class Reader:
    """Features of its own: the champion's differ from the canary's."""

    features = (("weather", "wind"),)
    keys = ("depot",)

    def __init__(self, wind):
        self.wind = wind

    def read(self, rows, at):
        return [FeatureRow({"wind": self.wind}, ()) for _ in rows]


def version(name, answer):
    return LoadedModel(name, Constant(answer), Reader(float(name)), NOW)


CHAMPION = version("1", 0.2)


def row(model, role):
    return Row(Call(), NOW, model, role, None, {"depot": "north"})


def scored(*rows):
    counters = VersionCounters()
    features = [FeatureRow({"wind": float(one.model.version)}, ()) for one in rows]
    return (*score_rows(list(rows), features, CHAMPION, "m", counters), counters.counts())


def test_each_version_scores_its_own_rows_in_one_call():
    canary, test = version("2", 0.8), version("3", 0.5)
    mixed = [row(CHAMPION, "champion"), row(canary, "canary"), row(test, "ab:fee"), row(canary, "canary")]
    rows, _, scores, counts = scored(*mixed)
    assert scores == [0.2, 0.8, 0.5, 0.8]
    assert rows == mixed
    assert {key: (one.answered, sum(one.seconds.values())) for key, one in counts.items()} == {
        ("champion", "1"): (1, 1),
        ("canary", "2"): (2, 1),
        ("ab:fee", "3"): (1, 1),
    }


@pytest.mark.parametrize("answer", [ValueError("no"), float("nan"), float("inf")])
def test_the_champion_answers_for_a_version_that_fails(answer):
    canary = version("2", answer)
    rows, features, scores, counts = scored(row(canary, "canary"), row(CHAMPION, "champion"))
    assert scores == [0.2, 0.2]
    assert [(one.model.version, one.role, one.flags) for one in rows] == [
        ("1", "champion", (FALLBACK,)),
        ("1", "champion", ()),
    ]
    assert features[0].values == {"wind": 1.0}  # read as the champion reads it
    assert (counts["canary", "2"].failed, counts["canary", "2"].answered) == (1, 0)
    assert counts["champion", "1"].answered == 2


class Linear(Constant):
    """Takes no gap in the wind, as scikit-learn's linear models; the rain may be missing."""

    features = ("wind", "rain")

    def score(self, matrix):
        if np.isnan(matrix[:, 0]).any():
            raise ValueError("Input contains NaN")
        return np.full(len(matrix), self.answer)


class Broken(Linear):
    """Never answers."""

    def score(self, matrix):
        raise ValueError("broken")


@pytest.mark.parametrize(
    ("view", "given", "scorer", "error", "said"),
    [
        ("request", None, Linear, Refused, "row 1, wind: Input should not be missing"),
        ("weather", [None, None], Linear, Refused, "row 1, wind: Input should not be missing"),
        ("weather", None, Linear, ModelFailed, "takes no gaps, and the store has no wind for row 1"),
        ("request", None, Broken, ModelFailed, "cannot score this: ValueError('broken')"),
    ],
)
def test_a_gap_that_the_champion_does_not_take_is_told_by_row_and_feature(view, given, scorer, error, said):
    reader, counters = Reader(1.0), VersionCounters()
    reader.features = ((view, "wind"), (view, "rain"))
    champion = LoadedModel("1", scorer(0.2), reader, NOW)
    features = [FeatureRow({"wind": wind, "rain": None}, ()) for wind in (1.0, None)]
    call = Call()
    rows = [Row(call, NOW, champion, "champion", given=given, place=place) for place in range(2)]
    with pytest.raises(error) as caught:
        score_rows(rows, features, champion, "m", counters)
    assert said in str(caught.value)
    assert "rain" not in str(caught.value)
    failed = [one.failed for one in counters.counts().values()]
    assert failed == ([] if error is Refused else [2])


def test_a_gap_inside_a_list_that_the_champion_does_not_take_names_the_list():
    reader, scorer = Reader(1.0), Linear(0.2)
    reader.features = (("request", "e"), ("request", "rain"))
    scorer.features, scorer.lists = ("e", "rain"), {"e": 2}
    champion = LoadedModel("1", scorer, reader, NOW)
    features = [FeatureRow({"e": (first, 1.0), "rain": None}, ()) for first in (0.0, float("nan"))]
    call = Call()
    rows = [Row(call, NOW, champion, "champion", place=place) for place in range(2)]
    with pytest.raises(Refused, match=r"row 1, e: Input should be a list without gaps: version 1 of m takes"):
        score_rows(rows, features, champion, "m", VersionCounters())


def answered_for(champion, mine, counters):
    """Let a canary answer a row whose client left the wind out, beside a champion."""
    reader = Reader(1.0)
    reader.features = (("request", "wind"), ("request", "rain"))
    reader.read = lambda rows, at: [FeatureRow({"wind": None, "rain": 1.0}, ()) for _ in rows]
    champion.features = mine.features = ("wind", "rain")
    canary = Row(Call(), NOW, LoadedModel("2", mine, reader, NOW), "canary", None, {})
    features = reader.read([canary], [NOW])
    return score_rows([canary], features, LoadedModel("1", champion, reader, NOW), "m", counters)[2]


@pytest.mark.parametrize(
    ("champion", "mine", "error", "failed"),
    [
        (Linear, Linear, Refused, {}),  # the client's mistake
        (Linear, Broken, Refused, {}),
        (Broken, Broken, ModelFailed, {"canary": 1, "champion": 1}),
    ],
)
def test_what_the_champion_refuses_too_is_no_failure_of_a_canary(champion, mine, error, failed):
    counters = VersionCounters()
    with pytest.raises(error):
        answered_for(champion(0.2), mine(0.8), counters)
    assert {role: one.failed for (role, _), one in counters.counts().items() if one.failed} == failed


def test_a_canary_that_refuses_what_the_champion_answers_has_failed():
    counters = VersionCounters()
    assert answered_for(Constant(0.2), Linear(0.8), counters) == [0.2]
    count = counters.counts()["canary", "2"]
    assert count.failed == 1
    assert "version 2 of m takes no gaps, and the request has no wind for row 0" in count.error


class Picky(Constant):
    """Cannot score what is calm."""

    def score(self, matrix):
        return np.where(matrix[:, 0] > 0, self.answer, np.nan)


def test_a_row_that_a_version_fails_on_takes_no_other_with_it_and_counts_once():
    canary = LoadedModel("2", Picky(0.8), Reader(2.0), NOW)
    winds, counters = (3.0, 0.0, 4.0), VersionCounters()
    features = [FeatureRow({"wind": wind}, ()) for wind in winds]
    rows, _, scores = score_rows([row(canary, "canary") for _ in winds], features, CHAMPION, "m", counters)
    assert scores == [0.8, 0.2, 0.8]
    assert [one.flags for one in rows] == [(), (FALLBACK,), ()]
    count = counters.counts()["canary", "2"]
    assert (count.answered, count.failed) == (2, 1)


def test_a_failure_of_the_champion_counts_when_its_call_is_alone():
    champion, counters = LoadedModel("1", Picky(0.2), Reader(1.0), NOW), VersionCounters()
    calls = [row(champion, "champion")._replace(call=Call(request_id=str(n))) for n in range(3)]
    calm = FeatureRow({"wind": 0.0}, ())
    for several in (calls, calls[:1]):
        with pytest.raises(ModelFailed):
            score_rows(list(several), [calm] * len(several), champion, "m", counters)
    assert counters.counts()["champion", "1"].failed == 1


@pytest.mark.parametrize("role", ["champion", NAMED])
def test_nobody_answers_for_the_champion_nor_for_a_version_that_was_asked_for(role):
    model = version("1" if role == "champion" else "2", ValueError("no"))
    with pytest.raises(ModelFailed, match="cannot score this"):
        score_rows([row(model, role)], [FeatureRow({"wind": 1.0}, ())], model, "m", VersionCounters())


class Log:
    """Keeps what is appended; its gate lets nothing through while it is closed."""

    def __init__(self):
        self.records, self.gate, self.entered = [], threading.Event(), threading.Event()

    def append(self, records):
        self.entered.set()
        assert self.gate.wait(10)
        self.records += records


def served(number):
    record = PredictionRecord(f"pred_{number}", "m", "1", NOW, NOW, "r1", {}, {"wind": 1.0}, 0.2, {})
    return ServedRow(None, {"depot": f"d{number}"}, NOW, FeatureRow({"wind": 1.0}, ()), CHAMPION, record)


def shadowing(log, counters, **options):
    return Shadows(log, lambda instance, score: {}, counters, **options)


def beside(model):
    return ServingVersions(CHAMPION, ((DeployedVersion("shadow", "shadow", model.version, 1.0, "s"), model),))


def test_copies_are_answered_into_the_log_and_name_what_was_answered():
    log, counters = Log(), VersionCounters()
    log.gate.set()
    shadows = shadowing(log, counters)
    shadows.offer(beside(version("2", 0.8)), [served(number) for number in range(5)])
    shadows.stop()
    assert [(one.role, one.version, one.score, one.shadow_of) for one in log.records] == [
        ("shadow", "2", 0.8, f"pred_{number}") for number in range(5)
    ]
    assert len({one.prediction_id for one in log.records}) == 5
    assert counters.counts()["shadow", "2"].answered == 5


def test_copies_are_dropped_when_there_are_too_many_and_when_requests_need_the_time():
    log, counters, busy = Log(), VersionCounters(), []
    shadows = shadowing(log, counters, max_waiting=3, max_rows=1, busy=lambda: bool(busy))
    model = beside(version("2", 0.8))
    shadows.offer(model, [served(0)])
    assert log.entered.wait(10)
    shadows.offer(model, [served(number) for number in range(1, 6)])
    busy.append(True)
    shadows.offer(model, [served(9)])
    assert counters.counts()["shadow", "2"].dropped == 3
    log.gate.set()
    shadows.stop()
    assert sorted(one.shadow_of for one in log.records) == ["pred_0", "pred_1", "pred_2", "pred_3"]


def test_a_shadow_that_fails_costs_only_itself():
    log, counters = Log(), VersionCounters()
    log.gate.set()
    shadows = shadowing(log, counters)
    shadows.offer(beside(version("2", ValueError("no"))), [served(0)])
    shadows.stop()
    assert log.records == []
    assert counters.counts()["shadow", "2"].failed == 1


def test_a_routing_key_that_fails_costs_no_answer():
    def key(instance, keys):
        if keys["depot"] == "d1":
            raise ValueError("no key")
        return keys["depot"]

    log, counters = Log(), VersionCounters()
    log.gate.set()
    shadows = shadowing(log, counters)
    lane = DeployedVersion("shadow", "shadow", "2", 1.0, "s")
    serving = ServingVersions(CHAMPION, ((lane, version("2", 0.8)),), key)
    shadows.offer(serving, [served(number) for number in range(3)])
    shadows.stop()
    assert [one.shadow_of for one in log.records] == ["pred_0", "pred_2"]
    count = counters.counts()["shadow", "2"]
    assert (count.answered, count.failed, count.error) == (2, 1, "ValueError: no key")
