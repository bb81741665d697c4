import textwrap

import polars as pl
import pytest
import s3fs

from tests.tidemill.privacy.stores.test_table_subjects import subject
from tidemill.errors import DataError
from tidemill.privacy.stores.row_places import RowPlace, count_in, find_places, remove_from_place
from tidemill.project import load_project
from tidemill.settings import Settings

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PARAMS = """
project: {name: shop, model: shop, training: "a:b", application: "a:b"}
dataset: {path: set.parquet, label: late}
features: {service: shop, repo: .}
"""

STORE = """
project: shop
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


def project_with(root, *sources):
    views = "\n".join(
        f'FeatureView(name="v{number}", entities=[rider], source={source}),'
        for number, source in enumerate(sources)
    )
    (root / "params.yaml").write_text(PARAMS)
    (root / "feature_store.yaml").write_text(STORE)
    (root / "place_views.py").write_text(
        textwrap.dedent(
            """
            from feast import Entity, FeatureView, FileSource, PushSource, ValueType
            rider = Entity(name="rider", join_keys=["rider"], value_type=ValueType.STRING)
            """
        )
        + f"views = [{views}]\n"
        + "".join(f"view_{number} = views[{number}]\n" for number in range(len(sources)))
    )
    return load_project(root, Settings(privacy_key=None))


def rides(*riders):
    return pl.DataFrame({"rider": riders, "rides": range(len(riders))})


def test_sources_of_every_shape_are_found_and_rewritten(tmp_path):
    (tmp_path / "many").mkdir()
    rides("ada", "grace").write_parquet(tmp_path / "many" / "a.parquet")
    rides("alan").write_parquet(tmp_path / "many" / "b.parquet")
    rides("ada", "grace", "ada").write_parquet(tmp_path / "by_rider", partition_by=["rider"])
    rides("ada").write_parquet(tmp_path / "pushed.parquet")
    rides("alan", "ada").rename({"rider": "who"}).write_parquet(tmp_path / "mapped.parquet")
    project = project_with(
        tmp_path,
        'FileSource(path="many/*.parquet", timestamp_field="t")',
        'FileSource(path="by_rider", timestamp_field="t")',
        'PushSource(name="p", batch_source=FileSource(path="pushed.parquet", timestamp_field="t"))',
        'FileSource(path="mapped.parquet", timestamp_field="t", field_mapping={"who": "rider"})',
    )
    places = {place.name: place for place in find_places(project)}
    ada = subject(rider="ada")
    wanted = {
        "by_rider": 2,
        "mapped.parquet": 1,
        "many/a.parquet": 1,
        "many/b.parquet": 0,
        "pushed.parquet": 1,
    }
    assert {name: count_in(place, ada) for name, place in places.items()} == wanted
    assert {name: remove_from_place(place, ada) for name, place in places.items()} == wanted
    assert not any(count_in(place, ada) for place in places.values())
    assert [path.name for path in (tmp_path / "by_rider").iterdir()] == ["rider=grace"]
    assert pl.read_parquet(tmp_path / "mapped.parquet")["who"].to_list() == ["alan"]
    assert pl.read_parquet(tmp_path / "pushed.parquet").schema == rides("ada").schema


def test_what_is_read_from_outside_the_project_is_upstream_and_what_is_pushed_there_is_not(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "many").mkdir()
    rides("ada").write_parquet(tmp_path / "many" / "a.parquet")
    (tmp_path / "p" / "dvc.lock").write_text(
        "stages: {ingest: {deps: [{path: ../rides.csv}, {path: own.csv}], outs: []}}"
    )
    project = project_with(
        tmp_path / "p",
        'FileSource(path="../shared.parquet", timestamp_field="t")',
        'FileSource(path="../many/*.parquet", timestamp_field="t")',
        'FileSource(path="../rides.csv", timestamp_field="t")',
        'PushSource(name="p", batch_source=FileSource(path="../pushed.parquet", timestamp_field="t"))',
    )
    assert {place.path.name: place.kind for place in find_places(project)} == {
        "shared.parquet": "upstream",
        "a.parquet": "upstream",
        "rides.csv": "upstream",
        "pushed.parquet": "file",
        "own.csv": "file",
    }


def test_a_source_in_a_bucket_is_rewritten_there(tmp_path, s3_endpoint, monkeypatch):
    for name, value in (
        ("ACCESS_KEY_ID", "test"),
        ("SECRET_ACCESS_KEY", "test"),
        ("DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = s3fs.S3FileSystem(endpoint_url=s3_endpoint, key="test", secret="test")
    bucket.mkdir("privacy")
    rides("ada", "grace").write_parquet(tmp_path / "a.parquet")
    bucket.put_file(str(tmp_path / "a.parquet"), "privacy/rides/a.parquet")
    for rider in ("ada", "grace"):
        bucket.put_file(str(tmp_path / "a.parquet"), f"privacy/rides/rider={rider}/b.parquet")
    source = (
        f'FileSource(path="s3://privacy/rides", s3_endpoint_override="{s3_endpoint}", timestamp_field="t")'
    )
    [place] = find_places(project_with(tmp_path, source))
    assert place.kind == "remote"
    assert count_in(place, subject(rider="ada")) == 3  # what the folder says counts
    assert remove_from_place(place, subject(rider="ada")) == 3
    assert count_in(place, subject(rider="ada")) == 0
    bucket.invalidate_cache()
    bucket.get_file("privacy/rides/a.parquet", str(tmp_path / "back.parquet"))
    assert pl.read_parquet(tmp_path / "back.parquet")["rider"].to_list() == ["grace"]
    assert [path for path in bucket.find("privacy") if "ada" in path] == []


def test_a_format_that_cannot_be_rewritten_is_named_if_it_names_the_subject(tmp_path):
    (tmp_path / "notes.pickle").write_bytes(b"\x80 ada-lovelace")
    place = RowPlace("notes.pickle", "file", "a file", tmp_path / "notes.pickle")
    assert count_in(place, subject(rider="ada-lovelace")) == 1
    assert count_in(place, subject(rider="grace-hopper")) == 0
    with pytest.raises(DataError, match=r"notes\.pickle names the subject") as raised:
        remove_from_place(place, subject(rider="ada-lovelace"))
    assert "by hand" in raised.value.hint
