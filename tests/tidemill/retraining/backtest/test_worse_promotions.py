"""The number of truly worse promotions is estimated in made-up worlds in which the truth is known."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tidemill.retraining.backtest.conclusion import conclude
from tidemill.retraining.backtest.play_notes import unproven
from tidemill.retraining.backtest.played_turns import Played, PlayedTurn
from tidemill.retraining.backtest.strategies import PromotionRule, Strategy
from tidemill.retraining.backtest.worse_promotions import ExpectedWorse, expected_worse, worse_of

START = datetime(2013, 4, 1, tzinfo=UTC)
WORLDS = {  # mean and scatter of true gains, the error of 30 days, and that of the hold-out
    "flights": (0.0067, 0.0106, 0.0078, 0.0111),
    "weather": (0.0178, 0.0206, 0.0127, 0.0175),
    "the plane": (0.0077, 0.0048, 0.0015, 0.0010),
    "shares": (0.0023, 0.0088, 0.0135, 0.0107),
    "all the same": (0.0, 1e-9, 0.01, 0.01),
}


@pytest.mark.parametrize("name", WORLDS)
def test_the_estimate_is_right_on_average_and_its_interval_holds_the_truth(name: str):
    """Three to eight promotions of candidates that a hold-out of the same world's past let pass.

    The hold-out is of another time, so its gains scatter around the true ones as much as the days after do.
    """
    mean, scatter, error, holdout = WORLDS[name]
    drawn = np.random.default_rng(0)
    found, counted, inside = list[float](), list[float](), list[bool]()
    for _ in range(150):
        true = drawn.normal(mean, scatter, 10)
        errors = error * np.exp(0.3 * drawn.normal(size=10))
        passed = np.flatnonzero(true + drawn.normal(scale=np.hypot(error, holdout), size=10) > 0)[:8]
        if len(passed) < 3:
            continue
        gains = (true + errors * drawn.normal(size=10))[passed]
        worse = int((true[passed] < 0).sum())
        told = worse_of(gains, errors[passed], gains, errors[passed])
        assert told is not None
        found.append(told.mean - worse)
        counted.append(int((gains < 0).sum()) - worse)
        inside.append(told.low <= worse <= told.high)
    assert abs(np.mean(found)) < 0.4
    assert np.mean(inside) > 0.9
    assert np.mean(np.square(found)) < 1.1 * np.mean(np.square(counted)), "than the signs"


def turn(day: int, gain: float | None, status: str = "promoted", error: float | None = 0.004) -> PlayedTurn:
    return PlayedTurn(START + timedelta(days=day), status, "", gain, error=error)


def played(name: str, *turns: PlayedTurn, rule: PromotionRule | None = None, auc: float = 0.7) -> Played:
    strategy = None if rule is None else Strategy((), rule)
    return Played(name, turns, (("2013-04", auc), ("2013-05", auc)), 0.0, strategy)


def test_candidates_that_passed_the_gate_tell_about_each_other():
    close = turn(30, 0.001)
    bad = [turn(day, -0.03, "rolled_back") for day in range(8)]
    alone, beside = (expected_worse(played("grown", close, *others)) for others in ([], bad))
    assert alone is not None
    assert beside is not None
    assert alone.mean < beside.mean
    refused = [replace(each, status="refused") for each in bad]
    assert expected_worse(played("grown", close, *refused)) == alone
    assert expected_worse(played("grown", *bad)) == ExpectedWorse(0.0, 0, 0), "none was promoted"


def test_what_is_not_known_is_not_estimated():
    unknown = turn(0, None, error=None)
    assert expected_worse(played("none known", unknown)) is None
    assert expected_worse(played("oracle", turn(0, 0.01))) is None
    exact = expected_worse(played("always", turn(0, -0.01, error=0.0), turn(9, 0.01, error=0.0)))
    assert exact == ExpectedWorse(1.0, 1, 1)
    some = expected_worse(played("some", unknown, turn(1, 0.05)))
    assert some is not None
    assert 0 < some.mean < 0.5
    assert (some.low, some.high) == (0, 1)


def test_the_play_says_what_it_means_and_no_more_than_its_promotions_allow():
    none, lasting = PromotionRule(proof="none"), PromotionRule(proof="lasting")
    good, bad = turn(0, 0.01), turn(1, -0.01)
    plain = played("grown, no proof", *[good] * 4, bad, rule=none, auc=0.73)
    proven = played("grown, proof lasting", good, good, rule=lasting, auc=0.72)
    never = played("never", auc=0.9)
    assert conclude("roc_auc", [never, plain, proven]) == (
        "fewest wrong promotions: grown, proof lasting (0 of 2 wrong), costs 0.0100 of mean roc_auc (worse "
        "in 2 of 2 months); best mean: grown, no proof (0.7300; 1 of 5 wrong)",
        "in the long run 0 to 84 % and 1 to 72 % may be wrong (95 % intervals): too few promotions to tell "
        "5 % from 30 %, or which of the two has fewer",
    )
    assert conclude("roc_auc", [never, plain]) == (
        "wrong promotions of grown, no proof: 1 of 5; in the long run 1 to 72 % may be wrong (95 % "
        "interval): too few promotions to tell 5 % from 30 %",
    )
    many = played("grown", *[good] * 100, rule=lasting, auc=0.75)
    losses = played("lossy", *[bad] * 50, *[good] * 50, rule=none, auc=0.74)
    assert conclude("roc_auc", [losses, many]) == (
        "fewest wrong promotions and best mean: grown (roc_auc 0.7500; 0 of 100 wrong)",
        "in the long run 0 to 4 % may be wrong (95 % interval)",
    )
    cheap = [replace(each, periods=(("2013-04", -auc),)) for each, auc in ((many, 5.5), (losses, 5.0))]
    said, told = conclude("neg_mae", cheap)
    assert "costs 0.5000 of mean mae (worse in 1 of 1 months); best mean: lossy (5.0000; 50 of 100" in said
    assert told == "in the long run 0 to 4 % and 40 to 60 % may be wrong (95 % intervals)"
    assert conclude("roc_auc", [never]) == ()


def test_policies_that_promoted_nothing_are_not_ranked_and_equal_ones_named_together():
    none, lasting = PromotionRule(proof="none"), PromotionRule(proof="lasting")
    good, bad = turn(0, 0.01), turn(1, -0.02)
    idle = [played(f"grown, proof {by}", rule=lasting, auc=0.71) for by in ("interval", "lasting")]
    said = "nothing tells which is best, nor how often any would be wrong: none of them promoted anything"
    assert conclude("roc_auc", idle) == (said,)
    busy = [played(name, good, bad, rule=none, auc=0.73) for name in ("grown", "sensitive")]
    first, told = conclude("roc_auc", [*busy, *idle])
    assert first == (
        "fewest wrong promotions: grown, proof interval (none promoted), costs 0.0200 of mean roc_auc "
        "(worse in 2 of 2 months); best mean: grown (0.7300; 1 of 2 wrong)"
    )
    assert told == (
        "grown: in the long run 1 to 99 % may be wrong (95 % interval): too few promotions to tell 5 % from "
        "30 %; nothing tells how often grown, proof interval would be wrong: it promoted nothing"
    )
    lacking = replace(turn(0, 0.3, "rolled_back"), proof="318 labels in 14 days", unproven=True)
    proven = replace(turn(1, 0.3, "rolled_back"), proof="a gain of -0.1")
    [note] = unproven([*busy, played("grown, proof lasting", lacking, proven)])
    assert note.startswith("grown, proof lasting: the proof had too few labels in 1 of 2 rollouts, so")
    assert conclude("roc_auc", busy)[0].endswith("(roc_auc 0.7300; 1 of 2 wrong), and the same by sensitive")
