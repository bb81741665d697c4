"""Each manifest against the API's schemas of the supported minors; custom resources against their own."""

import json
from functools import cache
from typing import Any

import jsonschema
import pytest
import referencing
import typer
import yaml
from kubernetes_validate.utils import schema_contents

from tests.helm.conftest import CHART, ROOT, Manifest, Render
from tests.helm.custom_resources import SCHEMAS
from tests.helm.values_matrix import BACKUP, CASES, SECRETS, merged
from tidemill.cli.main import app

pytestmark = pytest.mark.slow

MINORS = ("1.32", "1.37")
"""The lowest and the highest minor of `kubeVersion` in Chart.yaml that is tried."""


@pytest.fixture(scope="module")
def every_shape(render: Render) -> list[Manifest]:
    """Each manifest of each case, once: pairs of cases share most of them."""
    found = {json.dumps(one, sort_keys=True): one for case in CASES for one in render(case)}
    return list(found.values())


def of_kubernetes(manifests: list[Manifest]) -> dict[str, Any]:
    """What Kubernetes' schemas know, by its text: also pod templates and Services in custom resources."""
    found = [one for one in manifests if one["kind"] not in SCHEMAS]
    for ray in (one for one in manifests if one["kind"] in ("RayService", "RayCluster")):
        cluster = ray["spec"].get("rayClusterConfig", ray["spec"])
        groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
        found += [
            {
                "apiVersion": "v1",
                "kind": "PodTemplate",
                "metadata": {"name": "ray"},
                "template": group["template"],
            }
            for group in groups
        ]
        if "serveService" in ray["spec"]:
            found.append({"apiVersion": "v1", "kind": "Service", **ray["spec"]["serveService"]})
    return {json.dumps(one, sort_keys=True): one for one in found}


@cache
def validator(minor: str, kind: str, version: str) -> jsonschema.Draft202012Validator:
    """Of one kind: `kubernetes_validate.validate` reads all definitions anew for each manifest."""
    folder = f"kubernetes-json-schema/v{minor}.0-local-strict"
    group, _, name = version.rpartition("/")
    short = f"{group.partition('.')[0]}-{name}" if group else name
    return jsonschema.Draft202012Validator(
        schema_contents(f"{folder}/{kind.lower()}-{short}.json", minor), registry=definitions(folder, minor)
    )


@cache
def definitions(folder: str, minor: str) -> referencing.Registry:
    contents = schema_contents(f"{folder}/_definitions.json", minor)
    return referencing.Resource.from_contents(contents) @ referencing.Registry()


def problems(one: Manifest, minor: str) -> list[str]:
    return [
        f"{one['kind']} {one['metadata'].get('name')}: {error.json_path}: {error.message}"
        for error in validator(minor, one["kind"], one["apiVersion"]).iter_errors(one)
    ]


@pytest.mark.parametrize("minor", MINORS)
def test_kubernetes_knows_every_field(every_shape: list[Manifest], minor: str):
    found = of_kubernetes(every_shape)
    assert len({one["kind"] for one in found.values()}) >= 14
    assert [problem for one in found.values() for problem in problems(one, minor)] == []


def test_a_misspelt_field_would_be_found():
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"selektor": {}}}
    assert "selektor" in problems(wrong, MINORS[-1])[0]


def test_custom_resources_are_as_their_definitions_say(every_shape: list[Manifest]):
    seen = set()
    for one in every_shape:
        if one["kind"] in SCHEMAS:
            jsonschema.validate(one, SCHEMAS[one["kind"]])
            seen.add(one["kind"])
    assert seen == SCHEMAS.keys()


def test_serves_configuration_is_as_ray_wants_it(every_shape: list[Manifest]):
    from ray.serve.schema import ServeDeploySchema

    for one in every_shape:
        if one["kind"] == "RayService":
            config = ServeDeploySchema(**yaml.safe_load(one["spec"]["serveConfigV2"]))
            assert config.http_options.host == "0.0.0.0"
            names = [application.name for application in config.applications]
            assert names in (["tidemill"], ["tidemill", "tidemill-jobs"])


def test_the_backups_command_is_one_that_there_is(render: Render):
    assert not [one for one in render({"secrets": SECRETS}) if one["metadata"]["name"].endswith("-backup")]
    made = render({"secrets": SECRETS, "backup": BACKUP})
    [job] = [one for one in made if one["metadata"]["name"].endswith("-backup")]
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["tidemill", "backup", "make"]
    taken = (
        typer.main.get_command(app)
        .commands["backup"]
        .commands["make"]
        .make_context("make", container["args"])
    )
    assert taken.params | {"project": None} == {
        "place": BACKUP["place"], "project": None, "artifacts": "s3://models", "log": True, "keys": True,
        "runs": False, "reports": False, "data": False, "encrypt": True, "passphrase_file": None,
        "json": False,
    }  # fmt: skip
    names = [one["name"] for one in container["env"]]
    assert len(set(names)) == len(names)
    assert {"TIDEMILL_TRACKING_DATABASE", "TIDEMILL_BACKUP_PASSPHRASE"} <= {*names}


def test_the_rules_and_dashboards_are_those_of_monitoring(render: Render):
    monitoring = {"prometheusRule": {"enabled": True}, "grafana": {"enabled": True}}
    made = render(merged({"secrets": SECRETS}, {"monitoring": monitoring}))
    [rules] = [one for one in made if one["kind"] == "PrometheusRule"]
    assert rules["spec"] == yaml.safe_load((ROOT / "monitoring/prometheus/rules.yaml").read_text())
    [boards] = [one for one in made if one["metadata"]["name"].endswith("-grafana")]
    files = {file.name: json.loads(file.read_text()) for file in (ROOT / "monitoring/grafana").glob("*.json")}
    assert {name: json.loads(text) for name, text in boards["data"].items()} == files


def test_the_chart_has_the_products_version():
    from tidemill.version import __version__

    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == __version__
    ray = yaml.safe_load((CHART / "values.yaml").read_text())["serving"]["rayVersion"]
    assert f"\nray=={ray} " in (ROOT / "requirements.lock").read_text()
