"""A tiny project with a real two-stage pipeline under git and DVC."""

import shutil
import textwrap
from pathlib import Path

import polars as pl
import pytest

from tests.made_once import made_once
from tidemill.data.repository.git import git
from tidemill.data.versioning.add import add
from tidemill.data.versioning.data_versions import init_workspace
from tidemill.project import Project, load_project

PARAMS = """\
# what this project declares
project:
  name: tiny   # its name
  model: tiny
  training: "stages:spec"
  application: "stages:application"
dataset: {path: data/out.txt, label: late}
features:
  service: tiny

data:
  # both ends included
  last_month: '2013-03'  # YYYY-MM
  as_of: null
  fail: false
  wait: 0
"""

DVC = """\
stages:
  first:
    cmd: python -m pipelines.first
    params: [data.last_month]
    outs: [data/first.txt]
  second:
    cmd: python -m pipelines.second
    deps: [data/first.txt]
    params: [data.as_of, data.fail, data.wait]
    outs: [data/out.txt, models/second.txt]
"""

IGNORED = """\
.tidemill/
__pycache__/
/data/**
!/data/**/
!/data/**/*.dvc
!/data/**/.gitignore
/runs.log
/second.pid
"""

STAGE = """\
import os, pathlib, sys, time, yaml
data = yaml.safe_load(open("params.yaml"))["data"]
pathlib.Path("data").mkdir(exist_ok=True)
pathlib.Path("models").mkdir(exist_ok=True)
"""

FIRST = """
with open("runs.log", "a") as log: log.write("first\\n")
print("python is", sys.executable)
pathlib.Path("data/first.txt").write_text(str(data["last_month"]))
"""

SECOND = """
with open("runs.log", "a") as log: log.write("second\\n")
pathlib.Path("data/out.txt").write_text("half")
print("second at work")
if data["wait"]:
    pathlib.Path("second.pid").write_text(str(os.getpid()))
    time.sleep(data["wait"])
if data["fail"]:
    sys.exit("no flights after the last month")
first = pathlib.Path("data/first.txt").read_text()
pathlib.Path("data/out.txt").write_text(f"{first} as of {data['as_of']}")
pathlib.Path("models/second.txt").write_text("model")
"""


def write_project(root: Path) -> None:
    files = {
        "params.yaml": PARAMS,
        "dvc.yaml": DVC,
        ".gitignore": IGNORED,
        "pipelines/__init__.py": "",
        "pipelines/first.py": STAGE + FIRST,
        "pipelines/second.py": STAGE + SECOND,
        # A project's folders may be named like modules that DVC or we import: they must not shadow them.
        "psutil/__init__.py": "raise ImportError('the project shadows psutil')\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(content))


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace to copy: making one takes a second."""

    def make(folder: Path) -> Path:
        write_project(folder / "tiny")
        init_workspace(folder / "tiny", folder / "remote")
        return folder / "tiny"

    return made_once(tmp_path_factory, "fresh", make)


@pytest.fixture
def tiny(fresh: Path, tmp_path: Path) -> Project:
    shutil.copytree(fresh, tmp_path / "tiny")
    (tmp_path / "remote").mkdir()
    return load_project(tmp_path / "tiny")


FLIGHTS = pl.DataFrame(
    {"flight": [1, 2, 3], "delay": [5.0, None, 7.0], "carrier": ["UA", "AA", "UA"]}, strict=False
)
FLIGHTS_LATER = pl.DataFrame(
    {
        "flight": [1, 3, 4, 5],
        "delay": [5.0, 8.0, 1.0, 2.0],
        "carrier": ["UA", "UA", "B6", "B6"],
        "gate": [1] * 4,
    }
)


def put(path: Path, frame: pl.DataFrame) -> None:
    """Write a table anew: what is under version is a read-only link to DVC's cache."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)


@pytest.fixture(scope="session")
def told(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a history: flights and weather were added, later changed; a stage works in a folder."""
    return made_once(tmp_path_factory, "told", lambda folder: _tell(fresh, folder / "tiny"))


def _tell(fresh: Path, root: Path) -> Path:
    shutil.copytree(fresh, root)
    (root.parent / "remote").mkdir()
    project = load_project(root)
    put(root / "data/flights.parquet", FLIGHTS)
    for month, rain in (("01", 1), ("02", 2)):
        put(root / f"data/weather/{month}.csv", pl.DataFrame({"day": [1, 2], "rain": [rain, 0]}))
    (root / "dvc.yaml").write_text(
        "stages:\n  deep:\n    cmd: echo deep > out.txt; echo '{}' > kept.json\n    wdir: data/deep\n"
        "    outs: [out.txt]\n    metrics: [{kept.json: {cache: false}}]\n"
    )
    (root / "data/deep").mkdir()
    (root / "dvc.lock").write_text(DEEP_LOCK)
    git(root, "add", "dvc.yaml", "dvc.lock")
    add(project, "data/flights.parquet", "Flights")
    add(project, "data/weather", "Weather")
    git(root, "commit", "-q", "-m", "A stage")
    put(root / "data/flights.parquet", FLIGHTS_LATER)
    put(root / "data/weather/02.csv", pl.DataFrame({"day": [1, 2], "rain": [2, 9]}))
    put(root / "data/weather/03.csv", pl.DataFrame({"day": [1, 2], "rain": [3, 3]}))
    add(project, "data/flights.parquet", "More flights")
    add(project, "data/weather", "More weather")
    return root


DEEP_LOCK = """\
schema: '2.0'
stages:
  deep:
    cmd: echo deep > out.txt; echo '{}' > kept.json
    outs:
    - {path: kept.json, hash: md5, md5: 8a80554c91d9fca8acb82f023de02f11, size: 3}
    - {path: out.txt, hash: md5, md5: 5c8c3a2f3d3d5c3a2f3d3d5c3a2f3d3d, size: 5}
"""


@pytest.fixture
def project(told: Path, tmp_path: Path) -> Project:
    """A copy of that project to change, with its remote."""
    shutil.copytree(told.parent, tmp_path / "copy")
    return load_project(tmp_path / "copy/tiny")


@pytest.fixture(scope="session")
def finished(told: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of that project for all tests that only look at it."""
    folder = shutil.copytree(told.parent, tmp_path_factory.mktemp("finished") / "copy")
    return load_project(folder / "tiny")
