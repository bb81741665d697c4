"""Tables are read from folders whose names look like patterns."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tidemill.data.tables.frames import open_table, table_files

ROWS = pl.DataFrame({"id": [1, 2], "name": ["a", "b"]})
WRITERS = {
    "parquet": pl.DataFrame.write_parquet,
    "csv": pl.DataFrame.write_csv,
    "ndjson": pl.DataFrame.write_ndjson,
    "arrow": pl.DataFrame.write_ipc,
}


@pytest.mark.parametrize("folder", ["model [v2]", "a*b", "what?now", "a%2Fb", "x#y", "ünï çödé", "[!a]"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_is_no_pattern(tmp_path, folder, kind):
    place = tmp_path / folder
    place.mkdir()
    WRITERS[kind](ROWS, place / f"rows.{kind}")
    assert_frame_equal(open_table(place / f"rows.{kind}").collect(), ROWS)


def test_a_pattern_below_such_a_folder_finds_its_files_only(tmp_path):
    for folder in ("model [v2]", "model v"):
        for day in ("1", "2"):
            (tmp_path / folder / day).mkdir(parents=True)
            ROWS.write_parquet(tmp_path / folder / day / "rows.parquet")
    found = table_files(tmp_path / "model [v2]" / "*" / "*.parquet")
    assert found == [tmp_path / "model [v2]" / day / "rows.parquet" for day in ("1", "2")]
    assert open_table(tmp_path / "model [v2]" / "**" / "rows.parquet").collect().height == 4
