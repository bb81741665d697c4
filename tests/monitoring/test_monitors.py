import shutil
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
import yaml

from pipelines.features import write_features
from pipelines.ingest import ingest
from pipelines.training_set import write_training_set
from pipelines.validate import validate_tables
from tidemill.features.feature_store import service_features
from tidemill.monitoring.drift.drift_columns import ColumnDrift, Comparison, compare
from tidemill.monitoring.kinds.data_drift import findings_of
from tidemill.monitoring.monitor_config import Monitor, load_monitors
from tidemill.project import Project, load_project

ROOT = Path(__file__).parents[2]
PARAMS = """
project: {name: flights, model: flight-delay, training: "p:a", application: "p:b"}
dataset: {path: data/training_set.parquet, label: late}
features: {service: flight_delay}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project's monitors, apart from the rest of it."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    declared = ROOT / "monitoring" / "monitors.yaml"
    (tmp_path / "monitoring").mkdir()
    (tmp_path / "monitoring" / "monitors.yaml").write_text(declared.read_text())
    return load_project(tmp_path)


def test_delays_are_watched_in_every_respect(project: Project):
    (monitor,) = load_monitors(project)
    assert monitor.name == "flight-delay"
    assert (monitor.window.days, monitor.every.days) == (14, 7)
    assert monitor.data_drift is not None
    assert monitor.prediction_drift is not None
    assert monitor.quality is not None


WINDOW = 1120  # predictions of a fortnight in the demo
REFERENCE = 20_000


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The features of a quarter's flights, in no order: windows of it are stationary."""
    root = tmp_path_factory.mktemp("quarter")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"first_month": "2013-01", "last_month": "2013-03"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("expectations.yaml", "tombstones.yaml"):
        shutil.copy(ROOT / name, root)
    for name in ("pipelines", "feature_repo"):
        ignored = shutil.ignore_patterns("__pycache__", "online_store")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    quarter = load_project(root)
    for stage in (ingest, validate_tables, write_features, write_training_set):
        stage(quarter)
    table = pl.read_parquet(quarter.dataset_path).select(service_features(quarter))
    return table.sample(fraction=1.0, shuffle=True, seed=0)


def compared(
    monitor: Monitor,
    reference: pl.DataFrame,
    window: pl.DataFrame,
    known: Mapping[str, ColumnDrift] | None = None,
) -> Comparison:
    """Compare all columns but those of which the drift is known already."""
    assert monitor.data_drift is not None
    versions = pl.Series(["1"] * window.height)
    columns = compare(reference, window, monitor.data_drift, versions, "1", quiet=known)
    return Comparison(columns, None, reference.height, window.height)


def kinds(monitor: Monitor, drift: Comparison) -> set[str]:
    assert monitor.data_drift is not None
    return {finding.kind for finding in findings_of(drift, monitor.data_drift)}


@pytest.mark.engine
@pytest.mark.slow
def test_one_broken_feature_alarms_in_its_first_window_and_stationary_windows_do_not(
    project: Project, shuffled: pl.DataFrame
):
    (monitor,) = load_monitors(project)
    reference, rest = shuffled[:REFERENCE], shuffled[REFERENCE:]
    windows = [rest[WINDOW * number : WINDOW * (number + 1)] for number in range(40)]
    assert windows[-1].height == WINDOW
    found = [compared(monitor, reference, window) for window in windows]
    alarms = sum(bool(kinds(monitor, drift)) for drift in found)
    assert alarms <= 2, "5 % of the windows"
    for name in reference.columns:
        column, far = pl.col(name), float(reference[name].std()) * 3
        others = {each.name: each for each in found[0].columns if each.name != name}
        for broken in (
            pl.lit(None, pl.Float64),
            column + far,
            pl.lit(float(reference[name].mean())),
            pl.lit("new"),
        ):
            window = windows[0].with_columns(broken.alias(name))
            drift = compared(monitor, reference, window, others)
            assert kinds(monitor, drift) == {"feature_drift"}, (name, str(broken))
