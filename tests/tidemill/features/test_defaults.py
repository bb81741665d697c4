from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from feast import Field
from feast.types import Array, Bool, Float64, Int64, String, UnixTimestamp

from tests.tidemill.features.conftest import hours
from tidemill.errors import FeatureError
from tidemill.features import feature_store as features
from tidemill.features.defaults import check_defaults, declared_defaults, filled
from tidemill.features.online.online_features import OnlineFeatures

pytestmark = pytest.mark.engine

RAIN = 'Field(name="rain", dtype=Float64)'
FLIGHTS = 'Field(name="flights", dtype=Int64)'
SQUARED = 'Field(name="wind_squared", dtype=Float64)'
VIEW = 'mode="python",'


def with_default(field, value):
    return (field, field[:-1] + f', tags={{"default": "{value}"}})')


def test_training_and_serving_fill_in_the_same_after_everything_else(project, define):
    define(
        with_default(RAIN, 0.25),
        with_default(FLIGHTS, -1),
        (VIEW, VIEW + ' tags={"default:wind_squared": "64"},'),
        with_default('Field(name="wind", dtype=Float64)', 3),
    )
    features.apply(project)
    now = hours(3)
    features.materialise(project, now)
    keys = [(origin, carrier) for origin in ("JFK", "EWR", "LGA", None) for carrier in ("AA", "??")]
    rows = [{"origin": origin, "carrier": carrier, "departure": now} for origin, carrier in keys]
    for at in (now, now + timedelta(days=30)):
        frame = pl.DataFrame(rows).with_columns(event_timestamp=pl.lit(at))
        trained = features.training_frame(project, frame).select(features.service_features(project))
        served = OnlineFeatures(features.open_store(project), "mini").read(rows, [at] * len(rows))
        assert [row.values for row in served] == trained.to_dicts()
        assert trained.null_count().select("rain", "flights", "wind_squared").sum_horizontal().item() == 0
    first = OnlineFeatures(features.open_store(project), "mini").read(rows[-1:], [now])[0]
    # The default of wind is not an input of the on-demand view, in training neither.
    assert first.values["wind_squared"] == 64.0
    assert first.values == {"hour": 3, "wind_squared": 64, "late_share": None, "flights": -1, "rain": 0.25}
    assert first.flags[-3:] == ("default:wind_squared", "default:flights", "default:rain")


def test_a_change_of_a_default_is_a_change_of_definition(project, define):
    features.apply(project)
    hashes = {features.definition_hash(project)}
    before = RAIN
    for default in (0.25, 0.5):
        now = with_default(RAIN, default)[1]
        define((before, now))
        before = now
        features.apply(project)
        hashes.add(features.definition_hash(project))
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (RAIN, "dry", "view 'weather': the default of feature 'rain', 'dry', is not of type Float64"),
        (RAIN, "nan", "'rain', 'nan', is not of type Float64"),
        (FLIGHTS, "0.5", "view 'lateness': the default of feature 'flights', '0.5', is not of type Int64"),
        (
            SQUARED,
            "1",
            "view 'schedule': the default of feature 'wind_squared' is declared in the wrong",
        ),
    ],
)
def test_a_wrong_default_is_an_error_when_definitions_are_applied(project, define, field, value, message):
    define(with_default(field, value))
    with pytest.raises(FeatureError, match=message):
        features.apply(project)
    assert not (project.home / "registry.db").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("wind", "1", "view 'schedule' declares a default of 'wind', which is not one of its features"),
        ("hour", "noon", "view 'schedule': the default of feature 'hour', 'noon', is not of type Int64"),
    ],
)
def test_so_is_a_wrong_default_of_an_on_demand_view(project, define, name, value, message):
    define((VIEW, VIEW + f' tags={{"default:{name}": "{value}"}},'))
    with pytest.raises(FeatureError, match=message):
        features.apply(project)


MOMENT = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("dtype", "default", "value", "column"),
    [
        (String, "unknown", "unknown", pl.Series(["B1", None])),
        (Bool, "true", 1.0, pl.Series([False, None])),
        (UnixTimestamp, MOMENT.isoformat(), MOMENT.timestamp(), pl.Series([None, MOMENT])),
        (Array(Float64), "[0, 1.5]", (0.0, 1.5), pl.Series([[2.0, 3.0], None])),
        (Float64, "0.5", 0.5, pl.Series([1.0, float("inf")])),
    ],
)
def test_features_of_every_type_have_defaults_in_training_as_in_serving(dtype, default, value, column):
    field = Field(name="x", dtype=dtype, tags={"default": default})
    service = SimpleNamespace(
        feature_view_projections=[SimpleNamespace(name="v", features=[field], name_to_use=lambda: "v")]
    )
    defaults = declared_defaults(service, [])
    assert defaults == {"x": value}
    done = filled(column.to_frame("x"), defaults)["x"]
    assert done.dtype == column.dtype
    shown = {UnixTimestamp: MOMENT, Bool: True, Array(Float64): [0.0, 1.5]}.get(dtype, value)
    assert shown in done.to_list()
    assert done.null_count() == 0


@pytest.mark.parametrize(
    ("dtype", "default"),
    [(Bool, "yes"), (UnixTimestamp, "2013-04-01"), (Array(Float64), "0"), (Array(Int64), "[0.5]")],
)
def test_a_default_of_another_type_is_an_error(dtype, default):
    view = SimpleNamespace(
        name="v", features=[Field(name="x", dtype=dtype, tags={"default": default})], tags={}
    )
    with pytest.raises(FeatureError, match="view 'v': the default of feature 'x'"):
        check_defaults(view)


def test_types_stay_as_they_are():
    frame = pl.DataFrame({"a": [None, 1], "b": [None, True], "c": [None, None], "d": [float("nan"), 2.0]})
    done = filled(frame, {"a": 5.0, "b": 0.0, "c": 1.5, "d": 7.0})
    assert done.to_dict(as_series=False) == {
        "a": [5, 1],
        "b": [False, True],
        "c": [1.5, 1.5],
        "d": [7.0, 2.0],
    }
    assert done.schema == {"a": pl.Int64, "b": pl.Boolean, "c": pl.Float64, "d": pl.Float64}
