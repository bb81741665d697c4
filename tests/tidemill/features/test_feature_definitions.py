import os
import subprocess
import sys
from datetime import datetime

import polars as pl
import pytest

from tidemill.errors import FeatureError
from tidemill.features import feature_store as features
from tidemill.features.feature_definitions import load_definitions

pytestmark = pytest.mark.engine


def test_importing_leaves_no_trace(project):
    before = os.getcwd(), list(sys.path), set(sys.modules), sys.dont_write_bytecode  # noqa: PTH109
    names = {thing.name for thing in load_definitions(project.root / "feature_repo")}
    assert {"origin", "carrier", "weather", "lateness", "schedule", "mini", "request"} <= names
    assert (os.getcwd(), list(sys.path), set(sys.modules), sys.dont_write_bytecode) == before  # noqa: PTH109
    assert not list(project.root.glob("**/__pycache__"))


def test_repositories_with_modules_of_one_name_do_not_mix(project, make_project, tmp_path):
    other = make_project(tmp_path / "other")
    path = other.root / "feature_repo" / "mini_views.py"
    path.write_text(path.read_text().replace('name="rain"', 'name="snow"').replace('["rain"]', '["snow"]'))
    weather = other.root / "data" / "weather.parquet"
    pl.read_parquet(weather).rename({"rain": "snow"}).write_parquet(weather)
    features.apply(project)
    features.apply(other)
    features.apply(project)
    assert features.service_features(project)[-1] == "rain"
    assert features.service_features(other)[-1] == "snow"


def test_definitions_may_be_spread_over_modules(project):
    repo = project.root / "feature_repo"
    text = (repo / "mini_views.py").read_text()
    head, tail = text.split("weather = FeatureView(")
    (repo / "mini_entities.py").write_text(head)
    (repo / "mini_views.py").write_text(
        "from mini_entities import *\nfrom mini_entities import origin, carrier\nweather = FeatureView("
        + tail
    )
    features.apply(project)
    assert len(features.service_features(project)) == 5


def test_refuses_a_transformation_that_only_works_where_it_is_defined(project, define):
    define(
        ("wind * wind", "square(wind)"), ("@on_demand", "def square(x):\n    return x * x\n\n\n@on_demand")
    )
    with pytest.raises(FeatureError, match="'schedule': its transformation uses square from outside itself"):
        features.apply(project)


def test_a_transformation_may_import_what_it_needs(project, define):
    define(
        ("    # the wind's force", "    import math\n    # the wind's force"),
        ("wind * wind", "math.pow(wind, 2)"),
    )
    features.apply(project)
    assert len(features.service_features(project)) == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "broken.py",
            "import no_such_module_anywhere",
            r"broken\.py cannot be imported: ModuleNotFoundError",
        ),
        ("syntax.py", "def", r"syntax\.py cannot be imported: SyntaxError"),
    ],
)
def test_says_which_file_fails_to_import(project, name, content, message):
    (project.root / "feature_repo" / name).write_text(content)
    with pytest.raises(FeatureError, match=message):
        features.apply(project)


def test_says_when_an_installed_module_hides_a_file(project):
    (project.root / "feature_repo" / "json.py").write_text("")
    with pytest.raises(FeatureError, match=r"json\.py is hidden by another module called 'json'"):
        features.apply(project)


def applied_hash(project):
    features.apply(project)
    return features.definition_hash(project)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# the wind's force goes with its square", "# a comment"),
        ("wind * wind for", "(wind) * wind  for"),
        ('name="lateness",', 'name="lateness",\n    description="how late", owner="me", tags={"a": "b"},'),
    ],
)
def test_the_hash_stays_when_the_meaning_does(project, define, old, new):
    before = applied_hash(project)
    define((old, new))
    assert applied_hash(project) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("wind * wind", "wind * wind * wind"),
        ("ttl=timedelta(hours=3)", "ttl=timedelta(hours=4)"),
        ("lateness, weather", "lateness[['flights', 'late_share']], weather"),
        ("[schedule, lateness,", "[lateness, schedule,"),
        ('"rain", dtype=Float64', '"rain", dtype=Float32'),
        ('weather.parquet", ', 'weather.parquet", created_timestamp_column="created", '),
        ('Field(name="hour", dtype=Int64), ', ""),
    ],
)
def test_the_hash_changes_with_the_meaning(project, define, old, new):
    before = applied_hash(project)
    define((old, new), ("import Float64,", "import Float32, Float64,"))
    assert applied_hash(project) != before


def test_the_hash_is_the_same_in_every_workspace_and_after_materialising(project, make_project, tmp_path):
    before = applied_hash(project)
    assert len(before) == 64
    other = make_project(tmp_path / "elsewhere")
    path = other.root / "feature_repo" / "mini_views.py"
    path.write_text(path.read_text().replace("../data", str(other.root / "data")))
    absolute = applied_hash(other)
    path.write_text(path.read_text().replace(str(other.root / "data"), "../data"))
    assert applied_hash(other) == before
    assert absolute == before
    features.materialise(project, datetime(2013, 1, 2))  # noqa: DTZ001
    assert features.definition_hash(project) == before


def test_a_wrong_argument_of_a_definition_is_named(tmp_path):
    (tmp_path / "views.py").write_text(
        "from feast import FeatureView, FileSource\n"
        "source = FileSource(path='a.parquet', timestamp_field='at')\n"
        "view = FeatureView(name='wind', source=source, ttl='1 day')\n"
    )
    with pytest.raises(FeatureError, match=r"TypeCheckError: argument \"ttl\" \(str\)"):
        load_definitions(tmp_path)


def test_feast_is_imported_without_pytorch_and_the_checks_of_its_own_classes_and_others_keep_theirs(tmp_path):
    (tmp_path / "classes.py").write_text("""
import sys
import tidemill.features, feast, typeguard

print("torch" in sys.modules)

@typeguard.typechecked
class Other:
    def take(self, number: int) -> None: ...

print([kind for kind in (feast.Entity, feast.FeatureView) if "typeguard" in kind.__init__.__code__.co_names])
try:
    Other().take("x")
except typeguard.TypeCheckError as error:
    print(error)
""")
    done = subprocess.run(
        [sys.executable, tmp_path / "classes.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["False", "[]", 'argument "number" (str) is not an instance of int']
