"""LightGBM makes the same trees of rows that come a few at a time, also from a checkpoint on."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from tidemill.training.distributed import Prepared, Saved
from tidemill.training.families import lightgbm, private_lightgbm
from tidemill.training.families.preparation import with_all_classes
from tidemill.training.fitting.row_pieces import pieces_of
from tidemill.training.fitting.row_shards import read_shard, write_shards

pytestmark = pytest.mark.engine
pytest.importorskip("lightgbm")

PARAMS = {"num_leaves": 5, "subsample": 0.8}
VALUES = np.random.default_rng(0).normal(size=(700, 4))
VALUES[::9, 1] = np.nan
SUMS = VALUES[:, 0] * 2 + VALUES[:, 2]


def trees(model):
    return model.booster_.model_to_string().split("parameters:")[0]


@pytest.mark.parametrize(
    ("task", "labels", "classes"),
    [
        ("binary", (SUMS > 0).astype(int), [0, 1]),
        ("multiclass", np.digitize(SUMS, [-1, 1]) * 2, [0, 1, 2, 4]),  # 1 has no row
        ("regression", SUMS, []),
    ],
)
def test_rows_in_pieces_make_the_trees_of_all_rows(tmp_path, monkeypatch, task, labels, classes):
    monkeypatch.setattr(private_lightgbm, "_ROWS", 128)
    monkeypatch.setattr(lightgbm, "_SHARED", {})  # one worker has no network
    monkeypatch.setattr(lightgbm, "_TREES", (5, 10, 20))
    facts = {"classes": classes} if classes else {}
    write_shards(tmp_path / "rows", Prepared(VALUES, labels, lambda model: model, facts), 1)
    shard = read_shard(tmp_path / "rows", 0, 1, {})
    shard = replace(shard, read=partial(pieces_of, shard.files, 100))
    kept = {}

    def fit(saved):
        kept.clear()
        return lightgbm._fit_shard(
            task, PARAMS, shard, 3, saved, lambda done, state: kept.update({done: state()})
        )

    found = fit(None)
    assert list(kept) == [1, 2, 3]
    first = kept[1]
    again = fit(Saved(1, first))
    assert list(kept) == [2, 3]

    from lightgbm import Booster

    kind = partial(lightgbm._kind(task), **PARAMS, **lightgbm._FIXED)
    rows, targets, weights = VALUES, pd.Series(labels), None
    if classes:
        rows, targets, weights = with_all_classes(VALUES, targets, classes)
    whole = kind(n_estimators=20).fit(rows, targets, sample_weight=weights)
    more = kind(n_estimators=15)
    more.fit(rows, targets, sample_weight=weights, init_model=Booster(model_str=first.decode()))
    assert (trees(found), trees(again)) == (trees(whole), trees(more))
    assert found.get_params() == whole.get_params()
    assert np.array_equal(found.predict(VALUES[:50]), whole.predict(VALUES[:50]))
