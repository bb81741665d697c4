"""What `helm upgrade` must leave as it is, and several projects in one release."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.conftest import CHART, Render
from tests.helm.immutable_fields import RELEASED, fixed_fields
from tests.helm.values_matrix import CASES, SECRETS

pytestmark = pytest.mark.slow


def test_no_values_change_what_cannot_be_changed(render: Render):
    """Whatever values come after whatever others. Which volume it is, the values say."""
    first: dict[str, Any] = {}
    for case in CASES:
        made = render(case)
        for place, value in fixed_fields(made).items():
            if not place.startswith("PersistentVolumeClaim"):
                assert first.setdefault(place, value) == value, place
        for one in made:
            if one["kind"] == "Job":
                assert "before-hook-creation" in one["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert len(first) >= 9


@pytest.mark.parametrize("file", sorted(RELEASED.glob("*.json")), ids=lambda file: file.stem)
def test_an_upgrade_from_a_released_chart_changes_nothing_that_cannot_be_changed(render: Render, file: Path):
    """Its values are still known, its objects are still there, and their fixed fields are the same."""
    for case in json.loads(file.read_text()):
        now = fixed_fields(render(case["values"]))
        assert len(case["fields"]) > 3
        assert {place: now.get(place, "gone") for place in case["fields"]} == case["fields"]


def test_one_release_can_have_several_projects_each_in_its_namespace(programs: Path, tmp_path: Path):
    (tmp_path / "charts").mkdir()
    shutil.copytree(CHART, tmp_path / "charts" / "tidemill")
    names = ("flights", "prices")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    chart = {"apiVersion": "v2", "name": "teams", "version": "1.0.0"}
    chart["dependencies"] = [{"name": "tidemill", "version": version, "alias": name} for name in names]
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    values = {
        name: {"namespaceOverride": name, "secrets": SECRETS, "quota": {"hard": {"pods": 50}}}
        for name in names
    }
    command = [str(programs / "helm"), "template", "teams", str(tmp_path), "--values", "-"]
    done = subprocess.run(
        [*command, "--kube-version", "1.37.0"], input=json.dumps(values), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    assert Counter(one["metadata"]["namespace"] for one in made) == dict.fromkeys(names, len(made) // 2)
    assert len(made) > 30
    for one in made:
        here = one["metadata"]["namespace"]
        [other] = set(names) - {here}
        assert one["metadata"]["name"].startswith(f"teams-{here}")
        assert f"teams-{other}" not in json.dumps(one)
        assert f'"app.kubernetes.io/name": "{other}"' not in json.dumps(one)
    assert {one["metadata"]["namespace"] for one in made if one["kind"] == "ResourceQuota"} == set(names)
