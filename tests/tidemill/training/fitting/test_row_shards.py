"""A worker has the rows of its shard in the order that it asks for, mapped into memory or streamed."""

from dataclasses import replace

import numpy as np
import pytest

from tidemill.errors import TrainingError
from tidemill.training.distributed import Prepared
from tidemill.training.families.preparation import batches_with_all_classes
from tidemill.training.fitting import row_shards
from tidemill.training.fitting.row_pieces import pieces_of
from tidemill.training.fitting.row_shards import read_shard, write_shards

VALUES = np.random.default_rng(0).normal(size=(100, 3))
VALUES[5] = np.nan


@pytest.fixture
def shard(request, tmp_path, monkeypatch):
    """The whole of three files, of which the largest has 34 rows of 24 bytes."""
    monkeypatch.setattr(row_shards, "STREAMED_FROM", request.param)
    monkeypatch.setattr(row_shards, "_PIECE", 4 * 24)
    write_shards(tmp_path, Prepared(VALUES, np.arange(100), lambda model: model), 3)
    return read_shard(tmp_path, 0, 1, {})


def check_batches(shard, order):
    wanted, sizes = shard.places if order is None else shard.places[order], [20, 0, 1, 19]
    found = list(shard.batches([*sizes, len(wanted) - 40], order))
    assert np.array_equal(np.concatenate([values for values, _ in found]), VALUES[wanted], equal_nan=True)
    assert np.concatenate([target for _, target in found]).tolist() == wanted.tolist()
    assert [len(values) for values, _ in found[:4]] == sizes


@pytest.mark.parametrize("shard", [801], indirect=True)
def test_a_small_shard_is_mapped_into_memory(shard):
    assert shard.read.func is pieces_of
    assert np.array_equal(shard.values, VALUES[shard.places], equal_nan=True)
    assert [len(values) for values, _ in shard.batches(30)] == [30, 30, 30, 10]
    check_batches(shard, None)
    check_batches(shard, np.random.default_rng(1).permutation(100))


@pytest.mark.parametrize("shard", [801], indirect=True)
def test_a_class_without_a_row_gets_one_that_weighs_nothing(shard):
    shard = replace(shard, target=np.repeat([0, 2], 50))
    [*given, (values, labels, weights)] = batches_with_all_classes(shard, range(3))
    assert np.array_equal(np.concatenate([one[0] for one in given]), shard.values, equal_nan=True)
    assert all(one[2].tolist() == [1] * len(one[1]) for one in given)
    assert np.array_equal(values, shard.values[:1], equal_nan=True)
    assert (labels.tolist(), weights.tolist()) == ([1], [1e-6])
    assert [one[2] for one in batches_with_all_classes(shard, [0, 2])] == [None] * len(given)


@pytest.mark.engine
@pytest.mark.parametrize("shard", [800], indirect=True)
def test_a_large_shard_is_streamed_while_workers_hold_all_cpus(shard, ray_of_the_session):
    from ray.util import placement_group, remove_placement_group

    held = placement_group([{"CPU": 1}])
    assert held.wait(30)
    try:
        assert shard.read.func is not pieces_of
        check_batches(shard, np.random.default_rng(1).permutation(100)[:45])  # in two sections
    finally:
        remove_placement_group(held)


@pytest.mark.engine
@pytest.mark.parametrize("shard", [0], indirect=True)
def test_rows_of_another_worker_are_refused(shard, monkeypatch):
    from tidemill.training.fitting import streamed_rows

    monkeypatch.setattr(streamed_rows, "_Rows", lambda *_: None)
    monkeypatch.setattr(streamed_rows, "_section", lambda _: iter([VALUES[1:5]]))
    with pytest.raises(TrainingError, match=r"Ray Data streamed other rows than those of .*values-0.npy"):
        list(shard.batches())
