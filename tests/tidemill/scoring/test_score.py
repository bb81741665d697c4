"""Whole runs over real files, with a real registry and feature store; on Ray and without."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from tests.tidemill.serving.small_project import KNOWN, crown
from tests.warm_ray_workers import running_workers
from tidemill.errors import DataError, FeatureError, UsageError
from tidemill.features.feature_store import training_frame
from tidemill.prediction_log.prediction_log import read_latest, read_predictions
from tidemill.registry.versions.model_versions import load_scorer
from tidemill.scoring.input.column_values import typed
from tidemill.scoring.input.table_places import Place
from tidemill.scoring.score import TooManyRejected, score
from tidemill.scoring.scoring_job import ScoreRequest

pytestmark = pytest.mark.engine


def run(project, inputs, output="out", **asked):
    folder = project.root.parent
    inputs = (inputs,) if isinstance(inputs, str) else inputs
    return score(project, ScoreRequest(inputs, output, **{"workers": 0, **asked}), folder=folder)


def parts(folder: Path) -> pl.DataFrame:
    return pl.concat(
        [pl.read_parquet(path, hive_partitioning=False) for path in sorted(folder.glob("part-*"))]
    )


def expected(project, frame: pl.DataFrame, version="1") -> list[float]:
    return load_scorer(project, version).predict(frame.select("wind", "rain").to_pandas()).tolist()


def rejects(path: str) -> dict[int, str]:
    """Return the reasons by the places of the rows from 0; the file counts rows from 1, as people do."""
    return {line["row"] - 1: line["reason"] for line in map(json.loads, Path(path).read_text().splitlines())}


def test_columns_as_given(parcels, table, tmp_path):
    outcome = run(parcels, "rows.parquet", part_rows=2500)
    found = parts(tmp_path / "out")
    assert found.columns == ["id", "prediction_id", "model_version", "probability", "flags"]
    assert found["id"].to_list() == table["id"].to_list()
    assert found["probability"].to_list() == pytest.approx(expected(parcels, table))
    assert found["prediction_id"].n_unique() == 10_000
    assert set(found["model_version"]) == {"1"}
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest == outcome.manifest
    assert (manifest["version"], manifest["alias"], manifest["rows"]) == ("1", "champion", 10_000)
    assert len(manifest["parts"]) == 5  # row groups stay whole: two of a thousand rows a part
    assert not list(tmp_path.glob(".out*"))

    with pytest.raises(UsageError, match="exists already"):
        run(parcels, "rows.parquet")
    run(parcels, "rows.parquet", overwrite=True, version="2", keep=("*",))
    found = parts(tmp_path / "out")
    assert_frame_equal(found.select(table.columns), table)
    assert found["probability"].to_list() == pytest.approx(expected(parcels, table, "2"))


def test_what_cannot_come_out_right_is_refused_before_it_begins(parcels, table, tmp_path):
    table.drop("rain").rename({"wind": "Wind"}).write_parquet(tmp_path / "less.parquet")
    with pytest.raises(
        UsageError, match=r"less.parquet has no column wind, rain \(features of the version\)"
    ):
        run(parcels, "less.parquet", features="columns")
    with pytest.raises(UsageError, match="rows have no moments"):
        run(parcels, "less.parquet")
    table.rename({"id": "probability"}).write_parquet(tmp_path / "taken.parquet")
    with pytest.raises(UsageError, match="the input has a column probability"):
        run(parcels, "taken.parquet")
    table.with_columns(many=pl.lit([1, 2])).write_parquet(tmp_path / "lists.parquet")
    with pytest.raises(UsageError, match=r"CSV cannot hold many \(.*list<.*int.*>\)"):
        run(parcels, "lists.parquet", "out.csv")
    table.drop("id").write_parquet(tmp_path / "z.parquet")
    with pytest.raises(UsageError, match=r"lacks columns that .*: id"):
        run(parcels, ("rows.parquet", "z.parquet"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="was not written by batch scoring"):
        run(parcels, "rows.parquet", "mine", overwrite=True)
    (tmp_path / "mine.csv").write_text("years of work")
    with pytest.raises(UsageError, match=r"mine.csv was not written by batch scoring"):
        run(parcels, "rows.parquet", "mine.csv", overwrite=True)
    with pytest.raises(UsageError, match=r"rows.parquet was not written by batch scoring"):
        run(parcels, "rows.parquet", "rows.parquet", overwrite=True)
    assert not list(tmp_path.glob(".*.scoring"))


def test_a_link_to_a_folder_stays_one(parcels, table, tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    for _ in range(2):
        outcome = run(parcels, "rows.parquet", overwrite=True)
        assert parts(tmp_path / "large disk").columns[:2] == ["id", "prediction_id"]
    assert (outcome.output, (tmp_path / "out").is_symlink()) == (str(tmp_path / "large disk"), True)


def test_folders_are_columns_and_one_file_comes_out(parcels, table, tmp_path):
    for day in (1, 2):
        (tmp_path / "days" / f"date=2013-04-0{day}").mkdir(parents=True)
        table[:3].write_parquet(tmp_path / "days" / f"date=2013-04-0{day}" / "a.parquet")
    (tmp_path / "days" / "_draft.parquet").write_text("no parquet")
    run(parcels, "days", "scores.parquet", keep=("date", "id", "date"), part_rows=3)
    found = pl.read_parquet(tmp_path / "scores.parquet")
    assert found["date"].to_list() == ["2013-04-01"] * 3 + ["2013-04-02"] * 3
    assert found["probability"].to_list() == pytest.approx(expected(parcels, table[:3]) * 2)
    run(parcels, "days", "scores.csv", part_rows=3)
    assert_frame_equal(
        pl.read_csv(tmp_path / "scores.csv")["probability"].to_frame(), found.select("probability")
    )
    names = {path.name for path in tmp_path.glob("*scores*")}
    assert names == {
        "scores.parquet",
        "scores.parquet.manifest.json",
        "scores.csv",
        "scores.csv.manifest.json",
    }


CSV = b"""id,WIND,rain\r
1,0.5,1\r
"2,
two",x,1\r
3,1\r
4,,NA\r
5,1e2,-inf\r
\xff,1,1\r
"""


def test_bad_rows_of_csv_are_set_aside_with_their_reason(parcels, tmp_path):
    (tmp_path / "rows.csv").write_bytes(CSV)
    asked = {"rename": {"WIND": "wind"}, "features": "columns"}
    with pytest.raises(
        TooManyRejected, match="3 rows were rejected, 2 are allowed: nothing was published"
    ) as refusal:
        run(parcels, "rows.csv", max_rejected=2, **asked)
    assert "rows.csv, row 6: the row is not in UTF-8" in str(refusal.value)
    assert "--resume --max-rejected 3" in refusal.value.hint
    assert not (tmp_path / "out").exists()
    outcome = run(parcels, "rows.csv", max_rejected=3, existing="resume", **asked)
    assert outcome.resumed == 1
    told = rejects(outcome.rejects)
    assert told[1] == "wind: 'x' is not a number"
    assert "2 values where the header has 3" in told[2]
    assert "UTF-8" in " ".join(told.values())
    found = parts(tmp_path / "out")
    assert found["id"].to_list() == ["1", "4", "5"]
    assert (outcome.manifest["rows"], outcome.manifest["scored"]) == (6, 3)


def test_a_quote_amid_a_value_hides_no_row(parcels, tmp_path):
    (tmp_path / "rows.csv").write_text('id,wind,rain\na,1,2\n5" pipe,3,4\nb,5,6\n')
    run(parcels, "rows.csv", features="columns")
    assert parts(tmp_path / "out")["id"].to_list() == ["a", '5" pipe', "b"]
    (tmp_path / "first.csv").write_text('id,wind,rain\n5" pipe,3,4\nb,5,6\n')
    assert run(parcels, "first.csv", "first", features="columns").manifest["rows"] == 2


def test_lines_that_end_in_carriage_returns_alone_are_refused(parcels, tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"id,wind,rain\r1,1,2\r2,3,4\r")
    with pytest.raises(DataError, match="carriage returns"):
        run(parcels, "rows.csv", features="columns")


def test_values_may_be_set_apart_by_semicolons_and_names_have_spaces_around_them(parcels, tmp_path):
    rows = 'id,wind,rain\n"a;b",1,2\nc,3,4\n'
    (tmp_path / "commas.csv").write_text(rows)
    (tmp_path / "semicolons.csv").write_text(rows.replace(",", ";").replace("wind", " wind "))
    run(parcels, "commas.csv", features="columns")
    assert run(parcels, "semicolons.csv", "other", features="columns").manifest["scored"] == 2
    assert parts(tmp_path / "other")["id"].to_list() == ["a;b", "c"]
    assert parts(tmp_path / "other")["probability"].equals(parts(tmp_path / "out")["probability"])


@pytest.mark.parametrize("suffix", ["csv.gz", "ndjson.gz"])
def test_a_compressed_file_may_have_many_pieces(parcels, table, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(
        "tidemill.scoring.input.text_splitter.cut.__kwdefaults__", {"block": 10_000, "separator": ","}
    )
    text = table.write_csv() if suffix.startswith("csv") else table.write_ndjson()
    (tmp_path / f"rows.{suffix}").write_bytes(gzip.compress(text.encode()))
    run(parcels, f"rows.{suffix}", features="columns")
    found = parts(tmp_path / "out")
    assert found["id"].cast(pl.Int64).to_list() == table["id"].to_list()
    assert found["probability"].to_list() == pytest.approx(expected(parcels, table))

    content = (tmp_path / f"rows.{suffix}").read_bytes()
    (tmp_path / f"rows.{suffix}").write_bytes(content[:1000] + bytes(1000) + content[2000:])
    with pytest.raises(DataError, match=f"rows.{suffix} cannot be read"):
        run(parcels, f"rows.{suffix}", "other", features="columns")


def test_links_in_folders_are_files(parcels, table, tmp_path):
    (tmp_path / "days").mkdir()
    (tmp_path / "days" / "a.parquet").symlink_to(tmp_path / "rows.parquet")
    table[:10].write_parquet(tmp_path / "days" / "b.parquet")
    assert run(parcels, "days").manifest["rows"] == 10_010
    (tmp_path / "days" / "c.parquet").symlink_to(tmp_path / "nowhere.parquet")
    with pytest.raises(DataError, match=r"c.parquet is a link to .*nowhere.parquet, which is not there"):
        run(parcels, "days", "other")


def test_a_row_that_is_no_text_takes_no_other_with_it(parcels, tmp_path):
    rows = [b'"a\nb\xe9",1,2', b'"c\rd",1,2', b"e,3,4", b"\xff,1,2"]
    (tmp_path / "old.csv").write_bytes(b"\n".join([b"id,wind,rain", *rows, b""]))
    outcome = run(parcels, "old.csv", max_rejected=2)
    assert parts(tmp_path / "out")["id"].to_list() == ["c\rd", "e"]
    assert sorted(rejects(outcome.rejects)) == [0, 3]
    (tmp_path / "mixed.csv").write_bytes(b"id,wind,rain\n0,1,2\n\xff,1,2\n2,1\n3,x,2\n\xfe,1,2\n5,1\n6,y,2\n")
    outcome = run(parcels, "mixed.csv", "mixed", max_rejected=6, features="columns")
    assert sorted(rejects(outcome.rejects)) == [1, 2, 3, 4, 5, 6]
    (tmp_path / "none.csv").write_bytes(b"")
    with pytest.raises(DataError, match=r"none\.csv cannot be read as csv: there is no header"):
        run(parcels, "none.csv", "nowhere")


def test_bad_lines_of_ndjson_are_set_aside_with_their_reason(parcels, table, tmp_path):
    lines = [
        '{"id":1,"wind":1,"rain":0.5}',
        "{oops",
        '{"id":2,"wind":true,"rain":0}',
        '{"id":3,"rain":0,"more":[1]}',
        '{"id":4,"id":5,"wind":1}',
    ]
    (tmp_path / "rows.ndjson").write_text("\n".join(lines))
    outcome = run(parcels, "rows.ndjson", max_rejected=3)
    assert rejects(outcome.rejects) == {
        1: "the line is not a JSON object",
        2: "wind: True is not of type int64, as in the first lines",
        4: "the line has two fields 'id'",
    }
    assert parts(tmp_path / "out")["id"].to_list() == [1, 3]


def keyed(tmp_path) -> pl.DataFrame:
    hours = [-1, 0, 1, 2, 2.9, 5, 1]
    frame = pl.DataFrame(
        {
            "depot": ["north", "north", "south", "x9", "south", "north", "east"],
            "event_timestamp": [KNOWN + timedelta(hours=hour) for hour in hours],
            "weight": [None, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        }
    )
    frame.write_parquet(tmp_path / "keys.parquet")
    return frame


def test_features_by_key_are_those_that_were_known_then(parcels, tmp_path):
    frame = keyed(tmp_path)
    outcome = run(parcels, "keys.parquet", max_rejected=1)
    assert rejects(outcome.rejects)[3].startswith("depot: String should match pattern")
    sound = frame.filter(pl.col("depot") != "x9")
    seen = training_frame(parcels, sound.select("depot", "event_timestamp"))
    assert seen["wind"].to_list() == [
        None,
        1.0,
        9.0,
        9.0,
        None,
        None,
    ]  # nothing from the future, nothing expired
    found = parts(tmp_path / "out")
    assert found["probability"].to_list() == pytest.approx(expected(parcels, seen), nan_ok=True)
    assert found["decision"].to_list() == [
        json.dumps({"advice": "phone ahead" if p > 0.5 else "deliver"}, separators=(",", ":"))
        for p in found["probability"]
    ]
    gap = ["missing:weather", "default:rain"]
    assert found["flags"].to_list() == [gap, [], [], [], gap, gap]


def test_moments_that_the_api_refuses_are_rejected(parcels, tmp_path):
    at = [KNOWN, datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
    frame = pl.DataFrame({"depot": ["north"] * 3, "event_timestamp": at})
    frame.write_parquet(tmp_path / "keys.parquet")
    outcome = run(parcels, "keys.parquet", max_rejected=2, log=True)
    said = "event_timestamp: the moment is not in the years 1900 to 2200"
    assert rejects(outcome.rejects) == {1: said, 2: said}
    assert read_latest(parcels.predictions, parcels.model, 10, ["at"])["at"].to_list() == [KNOWN]
    frame.drop("event_timestamp").write_parquet(tmp_path / "keys.parquet")
    with pytest.raises(UsageError, match="not in the years"):
        run(parcels, "keys.parquet", "other", at=at[1])


def test_keys_of_csv_are_read_as_pandas_writes_them():
    column = pa.chunked_array(
        [["5", " 6", "7.0", None, "8.5", "x", "9007199254740993.0", "9007199254740993"]]
    )
    wrong = {}
    found = typed(column, "depot", pl.Int64(), wrong)
    assert found.to_list() == [5, 6, 7, None, None, None, 2**53 + 1, 2**53 + 1]
    assert sorted(wrong) == [4, 5]


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        (["True", "false ", "1", None, "maybe"], pl.Boolean(), [True, False, True, None, None]),
        ([5.0, float("nan"), 8.5, None], pl.String(), ["5", None, "8.5", None]),
        (pa.array(["5", "x"]).dictionary_encode(), pl.Int64(), [5, None]),
        ([[1]], pl.Int64(), [None]),
    ],
)
def test_keys_of_any_type_fit_or_are_said_not_to(given, wanted, expected):
    wrong = {}
    column = pa.chunked_array([given])
    found = typed(column, "depot", wanted, wrong)
    assert (found.to_list(), found.dtype) == (expected, wanted)
    nothing = [value is None or value != value for value in column.to_pylist()]
    assert sorted(wrong) == [n for n, value in enumerate(expected) if value is None and not nothing[n]]


def test_the_latest_features_are_those_that_the_api_reads(parcels, tmp_path):
    keyed(tmp_path)
    run(parcels, "keys.parquet", features="online", decide=False, keep=("depot",))
    found = parts(tmp_path / "out")
    assert "decision" not in found.columns
    flags = dict(zip(found["depot"], found["flags"].to_list(), strict=True))
    assert found["flags"].to_list()[0] == ["future:weather"]
    assert flags["north"] == ["expired:weather", "default:rain"]
    assert flags["east"] == ["missing:weather", "default:rain"]
    (parcels.home / "online.db").unlink()
    (parcels.home / "online.db").mkdir()
    with pytest.raises(FeatureError):  # defaults for all of them would be no scores
        run(parcels, "keys.parquet", "again", features="online", decide=False)


_KILLED = """
import sys
from pathlib import Path
from tidemill.project import load_project
from tidemill.scoring.scoring_job import ScoreRequest
from tidemill.scoring.score import score
root = Path(sys.argv[1])
request = ScoreRequest(("many.parquet",), "out", workers=0, part_rows=500)
score(load_project(root), request, folder=root.parent)
"""


def test_a_killed_run_goes_on_and_scores_no_row_twice(parcels, tmp_path):
    rows = 100_000
    rng = np.random.default_rng(2)
    frame = pl.DataFrame({"id": range(rows), "wind": rng.normal(size=rows), "rain": rng.normal(size=rows)})
    frame.write_parquet(tmp_path / "many.parquet", row_group_size=500)
    command = [sys.executable, "-W", "ignore", "-c", _KILLED, str(parcels.root)]
    process = subprocess.Popen(command, start_new_session=True)
    done = tmp_path / ".out.scoring" / "done"
    while process.poll() is None and (not done.exists() or len(list(done.glob("*.json"))) < 20):
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    assert not (tmp_path / "out").exists()
    staged = tmp_path / ".out.scoring" / "output"
    finished = {json.loads(path.read_text())["part"] for path in done.glob("*.json")}
    before = {name: (staged / name).stat().st_mtime_ns for name in finished}
    crown(parcels, "2")  # the alias moves meanwhile: the run stays with the version that it began with

    asked = {"part_rows": 500}
    with pytest.raises(UsageError, match=r"unfinished run .* of 200 parts (is|are) finished"):
        run(parcels, "many.parquet", **asked)
    with pytest.raises(UsageError, match="version was 1 and is 2"):
        run(parcels, "many.parquet", version="2", existing="resume", **asked)
    with pytest.raises(UsageError, match="keep was"):
        run(parcels, "many.parquet", existing="resume", keep=(), **asked)
    moment = (tmp_path / "many.parquet").stat()
    os.utime(tmp_path / "many.parquet")
    with pytest.raises(UsageError, match=r"many\.parquet has changed"):
        run(parcels, "many.parquet", existing="resume", **asked)
    os.utime(tmp_path / "many.parquet", ns=(moment.st_atime_ns, moment.st_mtime_ns))

    outcome = run(parcels, "many.parquet", existing="resume", **asked)
    assert 20 <= outcome.resumed == len(finished) < 200
    after = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in finished}
    assert after == before
    found = parts(tmp_path / "out")
    run(parcels, "many.parquet", "whole", version="1")
    assert_frame_equal(found.drop("prediction_id"), parts(tmp_path / "whole").drop("prediction_id"))
    assert found["prediction_id"].n_unique() == rows
    assert not list(tmp_path.glob(".out*"))
    again = run(parcels, "many.parquet", version="1", existing="resume", **asked)  # asked again, it is done
    assert again.manifest["id"] == outcome.manifest["id"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours handles it."""


def killed(*_, **__):
    raise Killed


def test_a_run_killed_while_its_output_takes_its_place_comes_to_its_end(
    parcels, table, tmp_path, monkeypatch
):
    for attempt in range(2):
        with monkeypatch.context() as patched:
            patched.setattr("tidemill.scoring.output.publishing.shutil.rmtree", killed)
            with pytest.raises(Killed):
                run(parcels, "rows.parquet", "one.parquet", part_rows=2000, overwrite=attempt > 0)
        assert run(parcels, "rows.parquet", "one.parquet", existing="resume", part_rows=2000)
        assert pl.read_parquet(tmp_path / "one.parquet")["id"].to_list() == table["id"].to_list()
    assert not (tmp_path / ".one.parquet.scoring").exists()


def test_what_a_removal_cut_short_left_behind_is_no_part_of_another_run(
    parcels, table, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr("tidemill.scoring.score.publish", killed)
        with pytest.raises(Killed):
            run(parcels, "rows.parquet", part_rows=2000)
    staged = tmp_path / ".out.scoring" / "output"
    late = next(staged.glob("part-*"))
    content = late.read_bytes()
    (tmp_path / ".out.scoring" / "job.json").unlink()
    with monkeypatch.context() as patched:  # nor what a worker of the run before finishes meanwhile
        patched.setattr("tidemill.scoring.score.manifest_of", killed)
        with pytest.raises(Killed):
            run(parcels, "rows.parquet", version="2", part_rows=2000)
    (staged / late.name).write_bytes(content)
    run(parcels, "rows.parquet", existing="resume", version="2", part_rows=2000)
    assert set(parts(tmp_path / "out")["model_version"]) == {"2"}


def test_an_output_that_was_about_to_be_replaced_comes_back(parcels, table, tmp_path, monkeypatch):
    run(parcels, "rows.parquet")
    with monkeypatch.context() as patched:
        patched.setattr("tidemill.scoring.score.publish", killed)
        with pytest.raises(Killed):
            run(parcels, "rows.parquet", version="2", overwrite=True)
    (tmp_path / "out").rename(tmp_path / ".out.scoring" / "replaced")
    with pytest.raises(UsageError, match="no column"):
        run(parcels, "rows.parquet", existing="restart", overwrite=True, keep=("nothing",))
    assert set(parts(tmp_path / "out")["model_version"]) == {"1"}


def test_object_stores(parcels, table, tmp_path, bucket, monkeypatch):
    files = fsspec.filesystem("s3")
    files.put(str(tmp_path / "rows.parquet"), f"{bucket}/in/a=1/rows.parquet")
    outcome = run(parcels, f"s3://{bucket}/in", f"s3://{bucket}/out", part_rows=5000, keep=("a", "id"))
    names = {path.rpartition("/")[2] for path in files.find(f"{bucket}/out")}
    assert {"_SUCCESS", "manifest.json"} < names
    assert len(names) == 4
    assert not files.exists(f"{bucket}/out/_scoring")

    def read() -> pl.DataFrame:
        found = sorted(files.glob(f"{bucket}/out/part-*"))
        return pl.concat([pl.read_parquet(files.cat_file(path)) for path in found])

    assert read()["probability"].to_list() == pytest.approx(expected(parcels, table))
    assert outcome.manifest["input"][0]["mark"]
    with pytest.raises(UsageError, match="exists already"):
        run(parcels, f"s3://{bucket}/in", f"s3://{bucket}/out")
    run(parcels, f"s3://{bucket}/in", f"s3://{bucket}/out", overwrite=True, version="2")
    assert set(read()["model_version"]) == {"2"}
    with monkeypatch.context() as patched:
        write = Place.write  # it dies just before it writes the marker
        patched.setattr(Place, "write", lambda *given: killed() if not given[1] else write(*given))
        with pytest.raises(Killed):
            run(parcels, "rows.parquet", f"s3://{bucket}/late")
    run(parcels, "rows.parquet", f"s3://{bucket}/late", existing="resume")
    assert files.exists(f"{bucket}/late/_SUCCESS")
    run(parcels, "rows.parquet", f"s3://{bucket}/one.parquet")
    assert pl.read_parquet(files.cat_file(f"{bucket}/one.parquet")).height == 10_000


def test_ray_spreads_it_and_the_rows_stay_in_order(parcels, table, tmp_path, ray_of_the_session):
    outcome = run(parcels, "rows.parquet", workers=2, part_rows=2000)
    found = parts(tmp_path / "out")
    assert found["id"].to_list() == table["id"].to_list()
    assert found["probability"].to_list() == pytest.approx(expected(parcels, table))
    assert len(outcome.manifest["parts"]) == 5
    (tmp_path / "rows.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:-9] + b"not the end")


def test_a_worker_that_dies_is_replaced_and_its_part_scored_anew(
    parcels, table, tmp_path, ray_of_the_session
):
    killed = []

    def kill_a_worker(step, _message, done, _total):
        if step == "scoring" and done and not killed:
            workers = running_workers("ray::_Worker")
            killed.extend(worker.pid for worker in workers)
            for worker in workers:
                worker.kill()

    request = ScoreRequest(("rows.parquet",), "out", workers=2, part_rows=500)
    outcome = score(parcels, request, kill_a_worker, folder=tmp_path)
    assert killed
    assert len(outcome.manifest["parts"]) == 10
    assert parts(tmp_path / "out")["id"].to_list() == table["id"].to_list()


def test_ray_is_started_for_what_threads_of_one_machine_cannot_share(
    parcels, table, tmp_path, monkeypatch, ray_of_the_session
):
    monkeypatch.setattr("tidemill.scoring.score._RAY_STARTS", 0.0)  # everything takes long now

    def told(output, **asked):
        steps = []
        request = ScoreRequest(("rows.parquet",), output, **asked)
        score(parcels, request, lambda _step, message, *_: steps.append(message), folder=tmp_path)
        assert parts(tmp_path / output).height == 10_000
        return steps

    assert "starting Ray" not in told("compiled")
    assert "starting Ray" in told("logged", log=True, at=KNOWN)  # records are made in Python, row by row


def test_predictions_go_into_the_log_only_when_asked(parcels, tmp_path):
    keyed(tmp_path)
    run(parcels, "keys.parquet", max_rejected=1, log=True)
    logged = read_predictions(
        parcels.predictions, parcels.model, KNOWN - timedelta(days=1), KNOWN + timedelta(days=1)
    )
    found = parts(tmp_path / "out")
    assert sorted(logged["prediction_id"]) == sorted(found["prediction_id"])
    assert set(logged["role"]) == {"batch"}
    assert json.loads(logged["keys"][1])["depot"] == "north"
    assert logged["feature.wind"][1] == 1.0
    run(parcels, "keys.parquet", "again", max_rejected=1)
    assert (
        len(
            read_predictions(
                parcels.predictions, parcels.model, KNOWN - timedelta(days=1), KNOWN + timedelta(days=1)
            )
        )
        == 6
    )


def test_the_log_gets_a_file_a_date_in_whatever_order_the_rows_are(parcels, table, tmp_path):
    at = pl.lit(KNOWN) + pl.duration(days=pl.col("id") % 30)
    table[:3000].with_columns(event_timestamp=at).write_parquet(tmp_path / "rows.parquet")
    run(parcels, "rows.parquet", log=True)
    logged = read_predictions(
        parcels.predictions, parcels.model, KNOWN - timedelta(days=1), KNOWN + timedelta(days=40)
    )
    found = parts(tmp_path / "out").sort("event_timestamp", "prediction_id")
    assert logged["prediction_id"].to_list() == found["prediction_id"].to_list()
    assert logged["score"].to_list() == found["probability"].to_list()
    wind = found.join(table, "id", maintain_order="left")["wind"]
    assert logged["feature.wind"].to_list() == wind.to_list()
    assert len(list(parcels.predictions.rglob("*.ndjson"))) == 30


def test_moments_with_a_half_hour_offset_are_the_same_moments(parcels, tmp_path):
    frame = keyed(tmp_path).filter(pl.col("depot") != "x9")
    run(parcels, "keys.parquet", "utc", max_rejected=1)
    asked = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    ahead = asked["event_timestamp"].cast(pa.timestamp("us", "+05:30"))
    pq.write_table(asked.set_column(1, "event_timestamp", ahead), tmp_path / "keys.parquet")
    run(parcels, "keys.parquet", "ahead", log=True)
    found = pq.read_table(sorted((tmp_path / "ahead").glob("part-*"))[0])  # the column is as it was given
    assert found["probability"].to_pylist() == parts(tmp_path / "utc")["probability"].to_list()
    assert found["event_timestamp"].to_pylist() == frame["event_timestamp"].to_list()
