"""Detectors of river over mistakes: which of the changes that they say is a rise, and since when."""

import inspect

import numpy as np
import numpy.typing as npt
import pytest

from tidemill.monitoring.kind_sections import DdmDetector, PageHinkleyDetector, RiverDetector
from tidemill.monitoring.quality.mistake_changes import mistake_rise, rise_beyond_inputs, said_changes

pytestmark = pytest.mark.engine

Floats = npt.NDArray[np.float64]
BOTH = (PageHinkleyDetector(), DdmDetector())


def mistakes(*parts: tuple[int, float]) -> Floats:
    """Return parts of so many rows each, with such a share of mistakes."""
    draw = np.random.default_rng(3)
    return np.concatenate([draw.random(rows) < share for rows, share in parts]).astype(np.float64)


def test_parameters_are_those_of_river_with_its_defaults():
    from river.drift import PageHinkley
    from river.drift.binary import DDM

    for river, ours in ((PageHinkley, PageHinkleyDetector), (DDM, DdmDetector)):
        theirs = {name: one.default for name, one in inspect.signature(river).parameters.items()}
        assert theirs == ours().model_dump(exclude={"name"})


@pytest.mark.parametrize("detector", BOTH)
def test_fewer_mistakes_are_no_rise_and_what_follows_them_is(detector: RiverDetector):
    before = mistakes((1200, 0.4))
    fewer = mistakes((600, 0.4), (600, 0.1))
    assert not mistake_rise(detector, before, fewer, 0.1).significant
    then = mistakes((600, 0.4), (600, 0.1), (400, 0.7))
    rise = mistake_rise(detector, before, then, 0.1)
    assert rise.change is not None
    assert 1200 <= rise.since < 1300, f"of {said_changes(detector, before, then)}"
    assert rise.after == pytest.approx(0.7, abs=0.05)
    assert mistake_rise(detector, before, then, 1.0).change is None, "it is less than twice as many"


def test_a_rise_that_is_over_counts_by_its_own_rows():
    window = mistakes((600, 0.2), (300, 0.6), (600, 0.2))
    rise = mistake_rise(PageHinkleyDetector(), mistakes((1500, 0.2)), window, 0.5)
    assert 600 <= rise.since < 750
    assert rise.rows[1] < 1150
    assert rise.share > 0.9


def test_a_warning_that_began_before_the_window_dates_nothing():
    before = mistakes((400, 0.2), (200, 0.26))
    window = mistakes((300, 0.5))
    (change,) = said_changes(DdmDetector(), before, window)[:1]
    assert (change.warned, change.since) == (None, change.said)
    (later,) = said_changes(DdmDetector(), before[:350], mistakes((50, 0.2), (300, 0.5)))[:1]
    assert later.warned is not None
    assert 50 <= later.since < later.said


def test_what_inputs_bring_and_what_too_few_rows_tell_is_no_rise():
    before, window = mistakes((1500, 0.3)), mistakes((500, 0.3), (500, 0.6))
    rise = mistake_rise(DdmDetector(), before, window, 0.1)
    places = np.arange(len(window))
    assert rise_beyond_inputs(rise, before, window, places) == rise._replace(for_inputs=True)
    expected = np.where(places < 500, 0.0, 0.3)
    assert not rise_beyond_inputs(rise, before, window - expected, places).significant
    by_days = np.concatenate([window[:500], np.repeat([1.0, 1.0, 0.0, 1.0, 0.0], 100)])
    assert not rise_beyond_inputs(rise, before, by_days, places).significant, "rows of a day are alike"
    few, all_wrong = places < rise.rows[0] + 20, np.where(places < rise.rows[0], window, 1.0)
    assert not rise_beyond_inputs(rise, before, all_wrong[few], places[few]).significant
