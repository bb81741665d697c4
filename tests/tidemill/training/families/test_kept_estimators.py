"""What is kept of a trial's trees goes on as it was, and what is no tree is not made."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from tidemill.training.families.kept_estimators import restored, state_of

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(size=(200, 4))
ROWS[3, 2] = np.nan
NUMBERS = DRAW.normal(size=200)
CLASSES = np.array(["a", "b", "c"], object)[DRAW.integers(0, 3, 200)]


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (HistGradientBoostingClassifier(max_iter=3, max_features=0.5, random_state=0), CLASSES),
        (HistGradientBoostingClassifier(max_iter=3, random_state=0), NUMBERS > 0),
        (HistGradientBoostingRegressor(max_iter=3, loss="absolute_error", random_state=0), NUMBERS),
        (HistGradientBoostingRegressor(max_iter=3, random_state=0), NUMBERS),
        (RandomForestClassifier(3, random_state=0), CLASSES),
        (RandomForestRegressor(3, max_features=0.5, random_state=0), NUMBERS),
    ],
    ids=["classes", "two", "absolute", "squared", "forest of classes", "forest"],
)
def test_trees_go_on_as_if_they_had_never_been_kept(model, labels):
    more = "max_iter" if "Hist" in type(model).__name__ else "n_estimators"
    model.set_params(warm_start=True).fit(ROWS, labels)
    kept = restored(state_of(model))
    for one in (model, kept):
        one.set_params(**{more: 6}).fit(ROWS, labels)
    assert (model.predict(ROWS) == kept.predict(ROWS)).all()


class Deadly:
    def __init__(self, call, *given):
        self.reduced = call, given

    def __reduce__(self):
        return self.reduced


# Not print itself: where Ray has shown a worker's lines, it is another one, which pickle refuses.
HIDDEN = [Deadly(exec, "print('made')"), Deadly(eval, "1"), Deadly(np.load, "x"), Deadly]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_is_no_tree_is_refused(hidden, capsys):
    with pytest.raises(pickle.UnpicklingError, match="no part of an ensemble"):
        restored(pickle.dumps(hidden))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["threading", "threading._os.system", "check_random_state"])
def test_what_their_modules_have_imported_is_refused(name):
    module, code = b"sklearn.ensemble._forest", name.encode()
    packed = b"\x80\x04\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(code)]) + code + b"\x93."
    with pytest.raises(pickle.UnpicklingError, match="no part of an ensemble"):
        restored(packed)
