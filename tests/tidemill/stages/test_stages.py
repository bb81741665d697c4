"""The stages of a project made of a table: what they write, and what they set aside."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from tidemill.cli.loop.set_aside import read_later
from tidemill.data.personal.pseudonyms import Pseudonymiser
from tidemill.errors import ConfigError, DataError, UsageError
from tidemill.features.personal_fields import declared_columns
from tidemill.features.project_features import hidden_fields
from tidemill.files.yaml_reading import parse_yaml
from tidemill.prediction_log.writing.redaction import redaction_for
from tidemill.privacy.subject import find_subject
from tidemill.project import Project, load_project
from tidemill.project.serve_config import ServeConfig
from tidemill.quickstart.init_options import InitOptions
from tidemill.quickstart.new_project import draft_project, write_draft
from tidemill.replay.table_history import read_history
from tidemill.stages.ingest import ingest_table
from tidemill.stages.training_set import write_training_set
from tidemill.stages.validate import validate_table

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("few_pieces")]

N = 300
ROWS = pl.DataFrame(
    {
        "shop": [f"S{n % 7}" for n in range(N)],
        "opened": [f"{n % 28 + 1:02d}.{n % 12 + 1:02d}.2024 {n % 24:02d}:15" for n in range(N)],
        "area": ["?" if n % 50 == 0 else str(n % 90) for n in range(N)],
        "kind": [["corner", "mall"][n % 2] for n in range(N)],
        "sales": [None if n % 30 == 0 else n * 1.5 for n in range(N)],
        "rent": [f"{n * 37 % N * 9.99:,.2f}".translate(str.maketrans(",.", ".,")) for n in range(N)],
    }
)


def make(folder: Path, rows: pl.DataFrame = ROWS, key: str | None = "shop") -> Project:
    rows.write_csv(folder / "t.csv", separator=";")
    options = InitOptions("sales", time="opened", key=key if rows is not ROWS else None, labels_after="2d")
    write_draft(draft_project("sales", "t.csv", folder, options), folder / "p")
    return load_project(folder / "p")


def run(project: Project) -> pl.DataFrame:
    for stage in (ingest_table, validate_table, write_training_set):
        stage(project)
    return pl.read_parquet(project.dataset_path)


def test_the_training_set(tmp_path: Path):
    found = run(make(tmp_path))
    assert dict(found.schema) == {
        "opened": pl.Datetime("us", "UTC"),
        "sales": pl.Float64(),
        "shop": pl.String(),
        "area": pl.Int64(),
        "kind": pl.String(),
        "rent": pl.Float64(),
        "label_known_at": pl.Datetime("us", "UTC"),
    }
    assert found["opened"].is_sorted()
    assert found["rent"].max() == 2987.01  # 299 * 9.99, with a decimal comma and thousands in the file
    assert found.height == N - ROWS["sales"].null_count()
    assert (found["label_known_at"] - found["opened"]).unique().to_list() == [timedelta(days=2)]
    assert found["area"].null_count() == ROWS.filter(area="?", sales=pl.col("sales")).height


@pytest.mark.parametrize(("classes", "known"), [(("F", "M"), {"F", "M"}), (("EU", "NA"), {"EU", "NA"})])
def test_what_means_a_gap_in_a_label_is_learnt_only_where_it_is_a_class(
    tmp_path: Path, classes: tuple[str, ...], known: set[str]
):
    rows = pl.DataFrame({"size": range(90), "kind": [*classes, "NA"] * 30}).with_columns(pl.col("size") % 7)
    rows.write_csv(tmp_path / "t.csv")
    write_draft(draft_project("kinds", "t.csv", tmp_path, InitOptions("kind")), tmp_path / "p")
    found = run(load_project(tmp_path / "p"))
    assert (set(found["kind"]), found.height) == (known, rows["kind"].is_in(list(known)).sum())


def test_what_means_a_gap_in_a_feature_of_text_is_learnt_only_where_it_is_a_category(tmp_path: Path):
    def kinds(*words: str) -> set[str | None]:
        rows = pl.DataFrame({"kind": [*words] * 30}).with_row_index("size")
        rows.with_columns(pl.col("size") % 7).write_csv(tmp_path / "t.csv")
        write_draft(draft_project("k", "t.csv", tmp_path, InitOptions("size")), tmp_path / words[0])
        return set(run(load_project(tmp_path / words[0]))["kind"])

    assert kinds("mall", "NA", "N/A") == {"mall", None}
    assert kinds("EU", "NA", "n/a") == {"EU", "NA", None}


def test_numbers_of_64_bits_without_a_sign_are_learnt(tmp_path: Path):
    large = pl.Series([2**63 + n % 11 for n in range(90)], dtype=pl.UInt64)
    pl.DataFrame({"size": large, "kind": ["a", "b", "b"] * 30}).write_parquet(tmp_path / "t.parquet")
    write_draft(draft_project("kinds", "t.parquet", tmp_path, InitOptions("kind")), tmp_path / "p")
    assert run(load_project(tmp_path / "p"))["size"].sort().to_list() == large.sort().to_list()


def test_labels_that_are_decimals_are_numbers_everywhere(tmp_path: Path):
    amounts = pl.Series([f"{n % 29}.25" for n in range(120)]).cast(pl.Decimal(10, 3))
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 29), "1d", eager=True)
    rows = {"at": days, "size": [n % 29 for n in range(120)], "month": days.dt.to_string("%Y-%m")}
    pl.DataFrame({**rows, "amount": amounts}).write_parquet(tmp_path / "t.parquet")
    draft = draft_project("p", "t.parquet", tmp_path, InitOptions("amount", time="at"))
    write_draft(draft, tmp_path / "p")
    project = load_project(tmp_path / "p")
    assert run(project)["amount"].to_list() == amounts.cast(pl.Float64).to_list()
    pl.read_parquet(project.dataset_path).with_columns(amount=amounts).write_parquet(project.dataset_path)
    assert read_history(project).rows["label"].dtype == pl.Float64
    assert "month: a month or quarter of one year" in (project.root / "features.yaml").read_text()


def test_columns_may_be_called_as_fields_of_the_files_are(tmp_path: Path):
    names = ["mode", "volume", "columns", "freshness", "source", "accepted", "coerce", "keys", "type"]
    columns = {name: [(n * 7 + place) % 13 for n in range(90)] for place, name in enumerate(names)}
    pl.DataFrame({**columns, "target": ["a", "b", "b"] * 30}).write_csv(tmp_path / "t.csv")
    write_draft(draft_project("kinds", "t.csv", tmp_path, InitOptions("target")), tmp_path / "p")
    found = run(load_project(tmp_path / "p"))
    assert {*found.columns} == {*names, "target"}
    assert found.height == 90


def test_later_rows_of_the_source_are_read_and_wrong_ones_set_aside(tmp_path: Path):
    project = make(tmp_path)
    before = run(project).height
    more = ROWS.tail(5).with_columns(area=pl.Series(["12", "many", "13", "14", "-"]), sales=1.5)
    pl.concat([ROWS, more]).write_csv(tmp_path / "t.csv", separator=";")
    assert run(project).height == before + 4
    rejected = pl.read_parquet(project.root / "data" / "rejected" / "table.parquet")
    assert rejected["area"].to_list() == ["many"]
    assert json.loads((project.root / "data" / "validation.json").read_text())["table"]["failing"] == 1


def test_a_cell_that_cannot_be_read_leaves_the_others_of_its_column_as_they_are_written(tmp_path: Path):
    rows = pl.DataFrame(
        {
            "revenue": [f"{n}.113" if n % 5 else f"{n}.113,5" for n in range(10, 60)],
            "rate": [f"{n},25" for n in range(50)],
            "pieces": [f"{n}.113" for n in range(10, 60)],
            "open": [["True", "False"][n % 2] for n in range(50)],
            "place": [f"[{n}.5, 1.5]" for n in range(50)],
            "y": [float(n) for n in range(50)],
        }
    )
    rows.write_csv(tmp_path / "t.csv", separator=";")
    write_draft(draft_project("p", "t.csv", tmp_path, InitOptions("y")), tmp_path / "p")
    project = load_project(tmp_path / "p")
    clean = project.root / "data" / "clean" / "table.parquet"
    run(project)
    before = pl.read_parquet(clean)
    assert before["revenue"].to_list()[:2] == [10113.5, 11113.0]
    assert (before["pieces"][0], before.schema["pieces"]) == (10113, pl.Int64())
    bad = {"revenue": "abc", "rate": "1.5", "pieces": "2.5", "open": "maybe", "place": "[1,x]"}
    # one bad row in fifty at a time, as more would stop the pipeline
    for name, value in bad.items():
        worse = pl.concat([rows, rows.head(1).with_columns(pl.lit(value).alias(name))])
        worse.write_csv(tmp_path / "t.csv", separator=";")
        run(project)
        assert pl.read_parquet(clean).equals(before), name
        rejected = pl.read_parquet(project.root / "data" / "rejected" / "table.parquet")
        assert rejected[name][0] == (f"{value} (not written as 1.234,56)" if name == "rate" else value)
        assert rejected["reason"][0].startswith(f"{name}: cannot be read as ")


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path):
    project = make(tmp_path)
    before = run(project)
    again = ROWS.with_columns(area=pl.col("area").str.replace(r"^(\d+)$", "${1}.0"))
    again.write_csv(tmp_path / "t.csv", separator=";")
    assert run(project).equals(before)
    more = again.tail(1).with_columns(area=pl.lit("5.5"))
    again.vstack(more).write_csv(tmp_path / "t.csv", separator=";")
    assert run(project).equals(before)
    assert pl.read_parquet(project.root / "data" / "rejected" / "table.parquet")["area"].to_list() == ["5.5"]


def test_nothing_is_used_before_it_is_known(tmp_path: Path):
    project = make(tmp_path)
    text = (project.root / "params.yaml").read_text()
    (project.root / "params.yaml").write_text(text.replace("as_of: null", 'as_of: "2024-06-01"'))
    found = run(load_project(project.root))
    assert 0 < found.height < N / 2
    assert found["label_known_at"].max().isoformat() <= "2024-06-01T00:00:00+00:00"
    assert read_later(project) == N - ROWS["sales"].null_count() - found.height
    (project.root / "params.yaml").write_text(text)
    run(load_project(project.root))
    assert read_later(project) == 0


def test_a_row_of_the_very_moment_is_still_to_be_asked_about(tmp_path: Path):
    project = make(tmp_path)
    file = project.root / "params.yaml"
    known_at_once = file.read_text().replace("label_known: label_known_at", "label_known: null")
    day = run(load_project(project.root))["opened"][N // 3]
    file.write_text(known_at_once.replace("as_of: null", f'as_of: "{day.isoformat()}"'))
    found = run(load_project(project.root))
    assert found["opened"].max() < day


def test_a_column_of_the_table_may_say_when_a_label_was_known(tmp_path: Path):
    known = pl.Series([None if n % 5 == 0 else f"2025-{n % 12 + 1:02d}-03T10:00:00" for n in range(N)])
    project = make(tmp_path, ROWS.with_columns(told=known), key=None)
    file = project.root / "params.yaml"
    text = file.read_text().replace("label_known: label_known_at", "label_known: told")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"told is a column of the table, .* is 2d"):
        run(load_project(project.root))
    file.write_text(text.replace('labels_after: "2d"', "labels_after: null"))
    found = run(load_project(project.root))
    labelled = ROWS.with_columns(known.alias("told")).filter(pl.col("sales").is_not_null())
    assert found.height == labelled["told"].count()
    assert found["told"].dt.month().unique().sort().to_list() == list(range(1, 13))
    assert read_later(project) == labelled["told"].null_count()  # whose label is not known yet
    file.write_text(file.read_text().replace("label_known: told", "label_known: tole"))
    with pytest.raises(ConfigError, match=r"tole is no column of the table, .* is null"):
        run(load_project(project.root))


def test_the_moment_of_a_label_is_no_feature(tmp_path: Path):
    project = make(tmp_path)
    file = project.root / "params.yaml"
    file.write_text(file.read_text().replace("label_known: label_known_at", "label_known: area"))
    with pytest.raises(ConfigError, match="label_known is area, which is a feature"):
        run(load_project(project.root))


def test_of_several_data_sets_the_stages_write_the_one_called_table(tmp_path: Path):
    project = make(tmp_path)
    file = project.root / "expectations.yaml"
    only = file.read_text()
    pl.DataFrame({"x": [1, 2]}).write_csv(project.root / "mine.csv")
    mine = (project.root / "mine.csv").read_bytes()
    another = "  mine:\n    source: mine.csv\n    columns: {x: {type: int64}}\n"
    for text in (only + another, only.replace("datasets:\n", "datasets:\n" + another)):
        file.write_text(text)
        assert run(project).height == 290
        assert (project.root / "mine.csv").read_bytes() == mine
    file.write_text((only + another).replace("  table:", "  shops:"))
    for stage in (ingest_table, write_training_set):
        with pytest.raises(ConfigError, match="declares shops, mine: which one is the table") as caught:
            stage(project)
        assert caught.value.hint == "call that one 'table'"


def test_what_is_declared_and_not_there_is_named(tmp_path: Path):
    project = make(tmp_path)
    run(project)
    features = project.root / "features.yaml"
    features.write_text(features.read_text() + "  - {name: wage, type: number}\n")
    with pytest.raises(DataError, match="no column wage"):
        write_training_set(project)
    text = (project.root / "params.yaml").read_text()
    source = parse_yaml(text)["data"]["source"]
    (project.root / "params.yaml").write_text(text.replace(f'source: "{source}"', "source: null"))
    with pytest.raises(ConfigError, match=r"data\.source is None"):
        ingest_table(load_project(project.root))


def test_a_table_of_a_database_is_read_again(tmp_path: Path):
    ROWS.with_columns(shop=pl.int_range(N)).write_database(
        "sales", f"sqlite:///{tmp_path}/shop.db", if_table_exists="replace"
    )
    draft = draft_project("sales", "sqlite:///shop.db::sales", tmp_path, InitOptions("sales"))
    write_draft(draft, tmp_path / "p")
    assert "always_changed: true" in draft.files["dvc.yaml"]
    assert run(load_project(tmp_path / "p")).height == N - ROWS["sales"].null_count()


def test_a_label_that_is_personal_is_hidden(tmp_path: Path):
    project = make(tmp_path)
    assert hidden_fields(project) == frozenset()
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("  label: sales", "  label: sales\n  label_personal: true"))
    project = load_project(project.root)
    assert hidden_fields(project) == {"sales"} == declared_columns(project)
    redaction = redaction_for(project, ServeConfig, hidden_fields(project))
    assert (redaction.label(None, "41000.0")[1] or "").startswith("psn_")
    with pytest.raises(UsageError):
        find_subject(project, {"sales": "41000"}, Pseudonymiser(b"a key of at least 16 bytes"))


def test_a_format_that_is_none_is_refused(tmp_path: Path):
    project = make(tmp_path)
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace('"1.234,56"', '"3,14"'))
    with pytest.raises(ConfigError, match=r"data\.formats\.rent is '3,14', which is no format"):
        ingest_table(load_project(project.root))


@pytest.mark.parametrize(
    ("name", "wrong"), [("key", "kee"), ("source", "sources"), ("labels_after", "label_after")]
)
def test_a_misspelt_field_is_named(tmp_path: Path, name: str, wrong: str):
    project = make(tmp_path, ROWS.unique("shop", keep="first"))
    params = project.root / "params.yaml"
    params.write_text(
        params.read_text()
        .replace(f"  {name}:", f"  {wrong}:")
        .replace("\ndataset:", "  city: Bath\n\ndataset:")
    )
    with pytest.raises(ConfigError, match=f"data has no field '{wrong}'"):
        run(load_project(project.root))
