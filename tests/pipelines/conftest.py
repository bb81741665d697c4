import shutil
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pytest
import yaml

from pipelines.ingest import tables
from pipelines.source import read_aircraft, read_flights, read_weather, source_folder
from pipelines.span import Span
from tidemill.project import load_project

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def csv_folder():
    return source_folder(None, ROOT)


@pytest.fixture(scope="session")
def csv(csv_folder):
    """The three CSV files as frames."""
    return read_flights(csv_folder), read_weather(csv_folder), read_aircraft(csv_folder)


@pytest.fixture(scope="session")
def winter(csv):
    """The tables of January and February, everything about them known."""
    return tables(Span(date(2013, 1, 1), date(2013, 3, 1), datetime(2013, 3, 5, tzinfo=UTC)), *csv)


def flights_project(folder, **data):
    """Make the flights project in a folder, with the given data section."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= data
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("expectations.yaml", "tombstones.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("pipelines", "feature_repo"):
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", "online_store"),
            dirs_exist_ok=True,
        )
    return load_project(folder)


@pytest.fixture
def make_project(tmp_path):
    """Return a function that makes the flights project in an own folder, with the given data section."""
    return partial(flights_project, tmp_path)
