"""What a stage read: data is told from code."""

import pytest

from tidemill.lineage.sources.pipeline import Content, Pipeline, parse_lock

LOCK = """
stages:
  clean:
    cmd: python clean.py
    deps: [{path: clean.py, md5: 1a}, {path: data/raw.csv, md5: 1b}, {path: %s, md5: 1c}]
    outs: [{path: data/clean.csv, md5: 1d}]
"""


@pytest.mark.parametrize("outside", ["/lake/orders.csv", "../orders.csv", "s3://lake/orders.csv"])
def test_a_source_outside_the_project_is_data(outside):
    pipeline = Pipeline(parse_lock(LOCK % outside), (Content("data/raw.csv", "1b"),))
    stage = pipeline.stages["clean"]
    assert [one.path for one in pipeline.data_of(stage)] == ["data/raw.csv", outside]
    assert [one.path for one in pipeline.code_of(stage)] == ["clean.py"]
