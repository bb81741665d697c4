"""Fields of objects as columns of a batch, named as training names them."""

import json

import polars as pl
import pytest

from tidemill.scoring.execution.input_columns import own_columns
from tidemill.scoring.input.fragments import examine, fragments_of
from tidemill.scoring.input.row_reading import Columns, read
from tidemill.scoring.input.table_places import find_files, locate

ROWS = [
    {"id": 1, "order": {"total": 2.5, "by": {"age": 31}}, "more": {"note": "a"}},
    {"id": 2, "order": None, "more": None},
    {"id": 3, "order": {"total": 4.5, "by": None}, "more": {"note": "c"}},
]


def read_file(path, wanted):
    files = list(find_files(locate(str(path), path.parent)))
    shapes = examine(files)
    files, [schema] = own_columns(files, shapes, lambda: wanted)
    [batch] = read(files, fragments_of(files, shapes)[0], Columns(schema))
    return batch


@pytest.mark.parametrize("kind", ["ndjson", "parquet"])
def test_only_objects_with_a_wanted_field_become_columns(tmp_path, kind):
    path = tmp_path / f"in.{kind}"
    if kind == "ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        pl.DataFrame(ROWS).write_parquet(path)
    found = read_file(path, {"order_total", "order_by_age"}).table
    assert found.to_pylist() == [
        {"id": 1, "order_total": 2.5, "order_by_age": 31, "more": {"note": "a"}},
        {"id": 2, "order_total": None, "order_by_age": None, "more": None},
        {"id": 3, "order_total": 4.5, "order_by_age": None, "more": {"note": "c"}},
    ]


def test_a_line_with_another_value_in_place_of_an_object_is_set_aside(tmp_path):
    path = tmp_path / "in.ndjson"
    wrong = [{"id": 4, "order": 5}, {"id": 5, "order": {"total": "x"}}, [1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, *wrong]))
    batch = read_file(path, {"order_total"})
    assert batch.table["order_total"].to_pylist() == [2.5, None, 4.5]
    assert [(one.row, one.reason) for one in batch.unread] == [
        (3, "order: 5 is no object, as in the first lines"),
        (4, "order_total: 'x' is not of type double, as in the first lines"),
        (5, "the line is not a JSON object"),
    ]


def test_a_field_whose_name_is_taken_leaves_its_object_whole(tmp_path):
    path = tmp_path / "in.ndjson"
    path.write_text('{"order": {"total": 1}, "order_total": 2}\n')
    assert read_file(path, {"order_total"}).table.to_pylist() == [{"order": {"total": 1}, "order_total": 2}]
