"""Compositions without Ray: what is asked of parts, what comes back, and what is said about it."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from tidemill.features.request_features import FeatureRow
from tidemill.serving.inference.calls import Call
from tidemill.serving.inference.composition import Composition, Part, PartFailed
from tidemill.serving.inference.row_scoring import ModelFailed, Row
from tidemill.serving.runtime.replica.composed_replicas import Composer

ROWS = [{"wind": 1.0, "rain": 0.5}, {"wind": 9.0, "rain": None}, {"wind": 4.0, "rain": 0.0}]
MODEL = SimpleNamespace(scorer=SimpleNamespace(words=(), lists={}))
OWN = [0.2, 0.8, 0.5]
PARTS = {"second": Part("second-model"), "careful": Part("careful-model", alias="challenger")}


class Answers:
    """Parts that answer the sum of what they are given, divided by 100, and remember what that was."""

    def __init__(self):
        self.asked = []

    async def __call__(self, name, matrix, columns):
        self.asked.append((name, matrix, columns))
        if name == "gone":
            raise PartFailed("part 'gone' does not answer")
        return "7", np.nansum(matrix, axis=1) / 100


def compose(score, timeout=5.0, ask=None):
    ask = ask or Answers()
    composer = Composer(Composition(PARTS, score), ask, timeout)
    rows = [Row(Call(), None, MODEL, "champion", instance=n, flags=("old",)) for n in range(3)]
    flagged, made = composer(rows, [FeatureRow(values, ()) for values in ROWS], OWN)
    return [row.flags for row in flagged], made, ask.asked


def test_a_pipeline_gives_one_models_score_to_another():
    async def score(asked):
        return await asked.ask("second", risk=asked.own)

    flags, made, asked = compose(score)
    assert flags == [("old", "model:second:7")] * 3
    assert asked[0][2] == ("wind", "rain", "risk")
    assert made == pytest.approx([0.017, 0.098, 0.045])


def test_an_ensemble_asks_at_the_same_time():
    met = asyncio.Event()

    async def score(asked):
        async def meets(name):
            other = met.is_set()
            met.set()
            scores = await asked.ask(name)
            return scores if other else scores + 0

        first, second = await asyncio.gather(meets("second"), meets("careful"))
        return (asked.own + first + second) / 3

    flags, made, asked = compose(score)
    assert [name for name, _, _ in asked] == ["second", "careful"]
    assert flags[0] == ("old", "model:second:7", "model:careful:7")
    assert made == pytest.approx([(0.2 + 0.03) / 3, (0.8 + 0.18) / 3, (0.5 + 0.08) / 3])


def test_a_rule_asks_about_some_rows_only_and_says_so():
    async def score(asked):
        unsure = (asked.own > 0.4) & (asked.own < 0.9)
        asked.flag("unsure", unsure)
        made = asked.own.copy()
        made[unsure] = await asked.ask("careful", where=unsure)
        assert (await asked.ask("second", where=asked.own > 2)).shape == (0,)
        return made

    flags, made, asked = compose(score)
    assert made == pytest.approx([0.2, 0.09, 0.04])
    assert flags == [("old",)] + [("old", "rule:unsure", "model:careful:7")] * 2
    assert [(name, matrix.shape) for name, matrix, _ in asked] == [("careful", (2, 2))]


def test_a_part_that_is_gone_fails_the_answer_or_is_done_without():
    async def strict(asked):
        return await asked.ask("gone")

    async def lenient(asked):
        try:
            return await asked.ask("gone")
        except PartFailed:
            asked.flag("alone")
            return asked.own

    with pytest.raises(PartFailed, match="'gone' does not answer"):
        compose(strict)
    flags, made, _ = compose(lenient)
    assert (flags[0], made) == (("old", "rule:alone"), OWN)


@pytest.mark.parametrize(
    ("made", "error"), [([0.1], "for 3 rows"), ([0.1, 2.0, 0.1], "0.1, 2.0"), ([0.1, np.nan, 0.1], "nan")]
)
def test_what_is_no_probability_for_each_row_is_an_error(made, error):
    async def score(asked):
        return np.array(made)

    with pytest.raises(ModelFailed, match=error):
        compose(score)


def test_a_composition_that_breaks_or_takes_too_long_is_an_error():
    async def broken(asked):
        return asked.own / {}["nothing"]

    async def slow(asked):
        await asyncio.sleep(60)

    with pytest.raises(ModelFailed, match="KeyError"):
        compose(broken)
    with pytest.raises(PartFailed, match="it ran out of time"):
        compose(slow, timeout=0.05)


def test_the_example_asks_for_a_second_opinion_where_it_matters():
    from examples.composition.application import application

    assert application.composition.parts == {"challenger": Part("flight-delay", alias="challenger")}
    flags, made, _ = compose(application.composition.score)
    assert made == pytest.approx([(0.2 + 0.015) / 2, 0.8, (0.5 + 0.04) / 2])
    assert flags[1] == ("old",)
    assert flags[2] == ("old", "rule:second-opinion", "model:challenger:7")

    class Nobody(Answers):
        async def __call__(self, name, matrix, columns):
            raise PartFailed("no challenger")

    flags, made, _ = compose(application.composition.score, ask=Nobody())
    assert (made, flags[0]) == (OWN, ("old", "rule:second-opinion", "rule:alone"))
