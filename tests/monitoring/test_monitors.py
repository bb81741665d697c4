from pathlib import Path

import pytest

from tidemill.monitoring.monitor_config import load_monitors
from tidemill.project import Project, load_project

PARAMS = """
project: {name: flights, model: flight-delay, training: "p:a", application: "p:b"}
dataset: {path: data/training_set.parquet, label: late}
features: {service: flight_delay}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The project's monitors, apart from the rest of it."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    declared = Path(__file__).parents[2] / "monitoring" / "monitors.yaml"
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
