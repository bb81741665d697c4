"""Labels come in from what labelling tools export, one a key, and are joined as of a moment."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tidemill.data.conftest import FLIGHTS, put
from tidemill.data.labels.annotation_checks import LabelRequest
from tidemill.data.labels.label_files import read_labels
from tidemill.data.labels.label_import import Imported, import_labels
from tidemill.data.labels.label_rules import resolve_labels
from tidemill.data.labels.labels_as_of import join_labels
from tidemill.data.personal.pseudonyms import Pseudonymiser, load_key
from tidemill.data.personal.tombstones import Tombstone, add_tombstone
from tidemill.data.versioning.data_versions import list_versions
from tidemill.data.versioning.diff import diff
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

NOW = datetime(2013, 6, 1, tzinfo=UTC)
DAY = [datetime(2013, 5, n, tzinfo=UTC) for n in range(1, 9)]


def annotation(number: int, label: str | None, day: int, who: Any = 1, **more: Any) -> dict[str, Any]:
    result = [
        {
            "id": f"r{number}",
            "from_name": "late",
            "to_name": "flight",
            "type": "choices",
            "value": {"choices": [label]},
        }
    ]
    moments = {"created_at": f"2013-05-0{day}T09:00:00.5Z", "updated_at": f"2013-05-0{day}T10:00:00Z"}
    flags = {"was_cancelled": False, "ground_truth": False, "lead_time": 4.2}
    return {"id": number, "completed_by": who, "result": result if label else [], **moments, **flags, **more}


def task(number: int, flight: Any, *annotations: dict[str, Any]) -> dict[str, Any]:
    data = {"flight": flight, "text": "UA 7 to SFO"}
    return {"id": number, "data": data, "annotations": list(annotations), "predictions": [], "meta": {}}


ANN = {"id": 9, "email": "ann@example.org"}
TASKS = [
    task(101, 1, annotation(11, "late", 1, ANN), annotation(12, "late", 3, 2)),
    task(
        102, 2, annotation(21, "late", 1, ANN), annotation(23, "late", 2, 2), annotation(22, "on time", 3, 3)
    ),
    task(103, 3, annotation(31, "on time", 2), annotation(32, "late", 4, was_cancelled=True)),
    task(104, 4),
    task(105, 5, annotation(51, None, 2)),
]


def minimal() -> list[dict[str, Any]]:
    """Return what Label Studio makes of these tasks as JSON-MIN."""
    return [
        {
            **one["data"],
            "id": one["id"],
            "late": given["result"][0]["value"]["choices"][0] if given["result"] else None,
            "annotator": "ann@example.org" if given["completed_by"] == ANN else given["completed_by"],
            "annotation_id": given["id"],
            **{name: given[name] for name in ("created_at", "updated_at", "lead_time", "was_cancelled")},
        }
        for one in TASKS
        for given in one["annotations"]
    ]


def write_json(path: Path) -> Path:
    path.write_text(json.dumps(TASKS, indent=2))
    return path


def write_minimal(path: Path) -> Path:
    path.write_text(json.dumps(minimal()))
    return path


def write_csv(path: Path) -> Path:
    rows = minimal()
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted(rows[0]), quoting=csv.QUOTE_NONNUMERIC)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_lines(path: Path) -> Path:
    path.write_text("\n".join(json.dumps(one) for one in TASKS))
    return path


EXPORTS: list[tuple[str, Callable[[Path], Path]]] = [
    ("export.json", write_json),
    ("min.json", write_minimal),
    ("export.csv", write_csv),
    ("tasks.jsonl", write_lines),
]


def frame_of(path: Path, majority: bool = False) -> pl.DataFrame:
    found = read_labels(path, ["flight"], "late", None)
    rows = pl.DataFrame(
        [
            {
                "flight": int(row["key"][0]),
                "labelled_at": datetime.fromisoformat(row["known"]),
                **{name: row[name] for name in ("label", "annotator", "source")},
            }
            for row in found.rows
        ]
    )
    return resolve_labels(rows, ["flight"], majority).labels


@pytest.mark.parametrize(("name", "write"), EXPORTS)
def test_every_export_of_label_studio_says_the_same(name: str, write: Callable[[Path], Path], tmp_path: Path):
    path = write(tmp_path / name)
    found = read_labels(path, ["flight"], "late", None)
    assert found.tool == "label-studio"
    assert found.cancelled == 1
    assert found.unlabelled in (1, 2)  # JSON has tasks that nobody has annotated, the others have not
    assert frame_of(path).select("flight", "label", "annotator", "source").rows() == [
        (1, "late", "ann@example.org", "label-studio/101/11"),
        (2, "on time", "3", "label-studio/102/22"),
        (3, "on time", "1", "label-studio/103/31"),
    ]
    two = frame_of(path, majority=True).row(1, named=True)
    assert (two["label"], two["annotator"]) == ("late", "2, ann@example.org")
    assert two["labelled_at"] == DAY[0] + timedelta(hours=10)  # nobody who confirmed it made it younger


@pytest.mark.parametrize(
    ("control", "value", "label"),
    [
        ("rating", {"rating": 4}, 4),
        ("number", {"number": 2.5}, 2.5),
        ("textarea", {"text": ["so late"]}, "so late"),
        ("choices", {"choices": ["a", "b"]}, '["a", "b"]'),
        ("datetime", {"datetime": "2013-05-01"}, "2013-05-01"),
        ("rectanglelabels", {"rectanglelabels": ["Plane"], "x": 1}, "Plane"),
    ],
)
def test_the_value_of_any_control_becomes_a_label(control: str, value: Any, label: Any, tmp_path: Path):
    given = annotation(1, "x", 1)
    given["result"][0] |= {"type": control, "value": value}
    (tmp_path / "full.json").write_text(json.dumps([task(1, 7, given)]))
    assert read_labels(tmp_path / "full.json", ["flight"], None, None).rows[0]["label"] == label
    pretty = value["choices"] and value if control == "choices" else [value]
    if control in ("rating", "number", "choices"):
        (tmp_path / "min.json").write_text(json.dumps([{**minimal()[0], "late": pretty}]))
        assert read_labels(tmp_path / "min.json", ["flight"], "late", None).rows[0]["label"] == label


def test_a_file_that_does_not_fit_into_a_buffer_is_read_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tidemill.data.labels.json_objects._CHUNK", 7)
    path = write_json(tmp_path / "export.json")
    assert len(read_labels(path, ["flight"], None, None).rows) == 6
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=r"export.json cannot be read"):
        read_labels(path, ["flight"], None, None)


annotations = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from("ab"), st.integers(0, 7), st.sampled_from(["x", "y", "z"])),
    min_size=1,
    max_size=25,
)


@given(annotations, st.booleans())
def test_the_rules_give_what_replaying_every_moment_gives(given_rows, majority):
    given_rows = sorted(given_rows, key=lambda row: row[2])
    rows = [(key, label, DAY[day], who, "t") for key, label, day, who in given_rows]
    names = ["key", "label", "labelled_at", "annotator", "source"]
    found = resolve_labels(pl.DataFrame(rows, schema=names, orient="row"), ["key"], majority)
    for key, label, known, _, _ in found.labels.rows():
        mine = [row for row in rows if row[0] == key]
        story = [winner(mine[: n + 1], majority) for n in range(len(mine))]
        assert label == story[-1]
        since = len(story) - 1
        while since and story[since - 1] == label:
            since -= 1
        assert known == mine[since][2]
    assert found.labels["key"].is_sorted()
    assert found.contradicted <= found.repeated


def winner(rows: list[tuple[Any, ...]], majority: bool) -> str:
    if not majority:
        return rows[-1][1]
    votes = {who: (label, n) for n, (_, label, _, who, _) in enumerate(rows)}

    def standing(one: str) -> tuple[int, int]:
        times = [n for label, n in votes.values() if label == one]
        return len(times), max(times, default=-1)

    return max("ab", key=standing)


labels_of_keys = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("ab"), st.integers(0, 7)), max_size=12)
rows_to_label = st.lists(st.tuples(st.one_of(st.none(), st.integers(1, 5)), st.integers(0, 7)), max_size=12)


@given(labels_of_keys, rows_to_label)
def test_a_label_counts_from_when_it_was_known_on(given_labels, rows):
    given_labels = list({(key, day): (key, label, day) for key, label, day in given_labels}.values())
    labels = pl.DataFrame(
        [(key, label, DAY[day]) for key, label, day in given_labels],
        schema={"key": pl.Int64, "label": pl.String, "labelled_at": pl.Datetime("ms", "UTC")},
        orient="row",
    )
    frame = pl.DataFrame(
        [(key, DAY[day]) for key, day in rows],
        schema={"key": pl.Int64, "at": pl.Datetime("ns", "UTC")},
        orient="row",
    )
    for known_by in (DAY[4], "at"):
        joined = join_labels(frame, labels, ["key"], known_by)
        assert joined.select("key", "at").equals(frame)
        for (key, day), label in zip(rows, joined["label"], strict=True):
            until = 4 if known_by != "at" else day
            known = [one for one in given_labels if one[0] == key and one[2] <= until]
            assert label == (max(known, key=lambda one: one[2])[1] if known else None)


def test_what_cannot_be_joined_is_told_at_once():
    frame = pl.DataFrame({"a": ["1"], "label": [1]})
    labels = pl.DataFrame({"a": [1], "labelled_at": [NOW]})
    with pytest.raises(DataError) as caught:
        join_labels(frame, labels, ["a", "b"], "when")
    for words in (
        "no column 'b'",
        "labels have no column 'label'",
        "'a' is String in the frame and Int64",
        "'when'",
    ):
        assert words in str(caught.value)


def take(project: Project, file: Path, **more: Any) -> Imported:
    return import_labels(project, LabelRequest(file, ("flight",), **{"name": "late", **more}), NOW)


def read(project: Project, name: str = "late") -> pl.DataFrame:
    return pl.read_parquet(project.root / f"data/labels/{name}.parquet", memory_map=False)


@pytest.mark.engine
def test_an_import_is_a_version_and_the_same_again_is_not(project: Project, tmp_path: Path):
    put(tmp_path / "flights.parquet", FLIGHTS.with_columns(pl.col("flight").cast(pl.Int32)))
    path = write_json(tmp_path / "export.json")
    done = take(project, path, against=tmp_path / "flights.parquet")
    assert (done.changed, done.labels, done.annotations, done.contradicted, done.cancelled) == (
        True,
        3,
        6,
        1,
        1,
    )
    labels = read(project)
    assert labels.columns == ["flight", "label", "labelled_at", "annotator", "source"]
    assert labels.schema["flight"] == pl.Int32
    assert list_versions(project, 1)[0].message == "Labels late: 3 from export.json"
    joined = join_labels(FLIGHTS.with_columns(pl.col("flight").cast(pl.Int32)), labels, ["flight"], DAY[1])
    assert joined["label"].to_list() == [
        "late",
        None,
        None,
    ]  # the last word on the second came two days later

    again = take(
        project, write_minimal(tmp_path / "min.json"), label="late", against=tmp_path / "flights.parquet"
    )
    assert not again.changed  # another export, the same labels
    assert again.revision == done.revision
    assert take(project, path, against=tmp_path / "flights.parquet", majority=True).changed
    assert read(project)["label"].to_list() == ["late", "late", "on time"]
    (change,) = diff(project, "HEAD~1", "HEAD", "data/labels/late.parquet").changes
    assert change.table is not None  # labels know their key
    assert (change.table.key, change.table.changed, change.table.added) == (("flight",), 1, 0)


@pytest.mark.engine
def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_written(project: Project, tmp_path: Path):
    bad = [
        task(1, None, annotation(1, "late", 1)),
        task(2, "seven", annotation(2, "late", 1)),
        task(3, 99, annotation(3, "late", 1)),
        task(4, 1, annotation(4, "late", 1, updated_at="yesterday")),
        task(5, 2, annotation(5, "late", 1, updated_at="2013-07-01T00:00:00Z")),
    ]
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    put(tmp_path / "flights.csv", FLIGHTS)
    before = list_versions(project, 1)
    with pytest.raises(DataError) as caught:
        take(project, tmp_path / "bad.json", against=tmp_path / "flights.csv")
    for words in (
        "no flight: task 1, annotation 1 (1 in all)",
        "a key of another type",
        "task 2, annotation 2",
        "does not have: task 3, annotation 3 (1 in all)",
        "no moment of the label such as 2013-04-01T06:00:00Z: task 4",
        "labelled in the future: task 5",
    ):
        assert words in str(caught.value)
    (tmp_path / "twice.csv").write_text("flight,label,labelled_at\n1,late,2013-05-01\n1,on time,2013-05-01\n")
    with pytest.raises(DataError, match=r"two labels at the same moment: row 1; row 2 \(2 in all\)"):
        take(project, tmp_path / "twice.csv")
    (tmp_path / "none.csv").write_text("flight,label\n1,\n")
    with pytest.raises(DataError, match="has no label"):
        take(project, tmp_path / "none.csv")
    two = annotation(1, "late", 1)
    two["result"].append({**two["result"][0], "from_name": "why"})
    (tmp_path / "two.json").write_text(json.dumps([task(1, 1, two)]))
    with pytest.raises(UsageError, match="several controls: late, why"):
        take(project, tmp_path / "two.json")
    (tmp_path / "a.csv").write_text("a,label\n1,2\n")
    with pytest.raises(UsageError, match="has no column flight: it has a, label"):
        take(project, tmp_path / "a.csv")
    with pytest.raises(DataError, match="No such file"):
        take(project, tmp_path / "gone.json")
    assert list_versions(project, 1) == before
    assert not (project.root / "data/labels/late.parquet").exists()


@pytest.mark.engine
def test_a_plain_table_keeps_zeros_moments_and_when_it_first_came(project: Project, tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text(
        "code,day,late,when\n007,2013-05-01 10:00,1,2013-05-02\n012,2013-05-01T10:00Z,0,2013-05-03\n"
    )
    request = LabelRequest(path, ("code", "day"), "table", "late", time="day", known_at="when")
    import_labels(project, request, NOW)
    labels = read(project, "table")
    assert labels["code"].to_list() == ["007", "012"]
    assert labels["day"].to_list() == [DAY[0] + timedelta(hours=10)] * 2
    assert labels["label"].to_list() == [1, 0]
    assert labels["labelled_at"].to_list() == [DAY[1], DAY[2]]

    path.write_text("flight,label\n1,late\n2,on time\n")  # without a moment: known since they came
    take(project, path)
    path.write_text("flight,label\n1,late\n2,late\n")
    later = import_labels(project, LabelRequest(path, ("flight",), "late"), NOW + timedelta(days=1))
    assert later.changed
    assert read(project)["labelled_at"].to_list() == [NOW, NOW + timedelta(days=1)]
    assert not import_labels(
        project, LabelRequest(path, ("flight",), "late"), NOW + timedelta(days=9)
    ).changed


@pytest.mark.engine
def test_labels_of_erased_subjects_stay_out(project: Project, tmp_path: Path):
    hide = Pseudonymiser(load_key(project))
    add_tombstone(project, Tombstone(("flight",), (hide.hide(2),), NOW, "asked"))
    done = take(project, write_json(tmp_path / "export.json"))
    assert (done.labels, done.erased) == (2, 1)
    assert read(project)["flight"].to_list() == [1, 3]
