"""Lineage survives the way through JSON and tags."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.errors import RegistryError
from tidemill.training.splits import Period, Split
from tidemill.training.tracking.run_lineage import Lineage, installed

moments = st.integers(0, 2_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
lengths = st.timedeltas(timedelta(seconds=1), timedelta(days=400))
names = st.text(min_size=1, max_size=20)


@st.composite
def lineages(draw):
    edges = [draw(moments)]
    for _ in range(3):
        edges.append(edges[-1] + draw(lengths))
    split = Split(*(Period(*edges[n : n + 2]) for n in range(3)))
    values = st.dictionaries(names, names, max_size=3)
    return Lineage(
        *(draw(names), draw(values), draw(names), draw(names), split, edges[-1], draw(values)),
        draw(st.none() | st.lists(names, max_size=3).map(tuple)),
        draw(st.none() | st.fixed_dictionaries({"packages": values, "threads": values})),
    )


@given(lineages())
def test_plain_values_tell_it_all(lineage):
    assert Lineage.from_dict(json.loads(json.dumps(lineage.as_dict()))) == lineage
    assert all(isinstance(value, str) for value in lineage.tags().values())


@given(lineages())
def test_a_record_from_before_the_mark_reads_as_unknown(lineage):
    before = lineage.as_dict()
    del before["uncommitted"]
    assert Lineage.from_dict(before) == replace(lineage, uncommitted=None)


@given(lineages())
def test_tags_of_earlier_versions_tell_it_all(lineage):
    tags = {**tags_before(lineage), "mlflow.user": "somebody"}
    assert Lineage.from_tags(tags) == replace(lineage, uncommitted=None, environment=None)  # unknown


@given(lineages(), st.data())
def test_a_missing_tag_is_named(lineage, data):
    tags = tags_before(lineage)
    gone = data.draw(st.sampled_from(sorted(tags)))
    del tags[gone]
    with pytest.raises(RegistryError, match=gone.rpartition(".")[2]):
        Lineage.from_tags(tags)


def tags_before(lineage):
    """Return the tags that the first version of Tidemill wrote."""
    whole = {name: json.dumps(getattr(lineage, name)) for name in ("data", "packages")}
    return lineage.tags() | {f"tidemill.lineage.{name}": value for name, value in whole.items()}


def test_plain_values_are_plain():
    day = [datetime(2013, 3, n, tzinfo=UTC) for n in range(1, 5)]
    split = Split(Period(day[0], day[1]), Period(day[1], day[2]), Period(day[2], day[3]))
    found = Lineage("4f1d", MappingProxyType({"a": "b"}), "service", "77c2", split, day[3]).as_dict()
    assert found["data"] == {"a": "b"}
    assert found["split"]["holdout"] == {
        "start": "2013-03-03T00:00:00+00:00",
        "end": "2013-03-04T00:00:00+00:00",
    }
    assert found["as_of"] == "2013-03-04T00:00:00+00:00"


def test_installed_packages_have_versions():
    found = installed()
    assert found["scikit-learn"].count(".") >= 1
    assert found["tidemill"]
