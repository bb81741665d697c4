"""A tiny project with a real two-stage pipeline under git and DVC."""

import shutil
import textwrap
from pathlib import Path

import pytest

from tidemill.data.versions import init_workspace
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
        ".gitignore": ".tidemill/\n__pycache__/\n/data/\n/runs.log\n/second.pid\n",
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
    root = tmp_path_factory.mktemp("fresh") / "tiny"
    write_project(root)
    init_workspace(root, root.parent / "remote")
    return root


@pytest.fixture
def tiny(fresh: Path, tmp_path: Path) -> Project:
    shutil.copytree(fresh, tmp_path / "tiny")
    (tmp_path / "remote").mkdir()
    return load_project(tmp_path / "tiny")
