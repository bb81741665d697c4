"""The Containerfile agrees with the project and the chart; the bill of materials lists what is installed."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml

from tests.helm.conftest import CHART, ROOT

pytestmark = pytest.mark.slow

TEXT = (ROOT / "Containerfile").read_text().replace("\\\n", "")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def words(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_bases_are_named_by_the_builder_and_never_by_a_tag():
    assert words("ARG")[0] == "BASE", "without a default"
    assert {line.split()[0] for line in words("FROM")} == {"${BASE}"}


def test_it_runs_as_the_charts_user_and_has_what_is_needed():
    security = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurity"]
    assert words("USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    installed = next(line for line in words("RUN") if "apt-get install" in line)
    assert {"git", "wget"} <= set(installed.split())
    assert "safe.directory '*'" in installed


def test_the_extras_and_files_that_it_names_are_there():
    [extras] = [line.partition("=")[2].split(",") for line in words("ARG") if line.startswith("EXTRAS=")]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) <= known.keys()
    assert {"dashboard", "serving", "training", "postgres", "s3", "redis"} <= set(extras)
    copied = [word for line in words("COPY") if not line.startswith("--from") for word in line.split()[:-1]]
    assert len(copied) >= 6
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in copied:
        assert (ROOT / name).exists()
        assert name in allowed, "what .dockerignore leaves out cannot be copied"


def test_the_bill_of_materials_lists_every_package_with_its_version():
    command = [sys.executable, str(ROOT / ".ci" / "sbom")]
    said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1], "the same packages give the same bill"
    bill = json.loads(said[0])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {one["name"]: one["version"] for one in bill["components"]}
    names = {
        re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in metadata.distributions()
    }
    assert listed == {name: version for name, version in names.items() if name != "tidemill"}
    assert bill["metadata"]["component"]["name"] == "tidemill"
    assert len({one["bom-ref"] for one in bill["components"]}) == len(bill["components"])
