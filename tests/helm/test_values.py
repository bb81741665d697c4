"""values.yaml, its schema, its table and the matrix of tests agree with each other."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from helm.values_table import documented, readme
from tests.helm.conftest import CHART, RELEASE, Render
from tests.helm.values_matrix import CASES, FACTORS, SECRETS, WORKER, merged, pairwise

pytestmark = pytest.mark.slow

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def leaves(
    schema: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each value that has a type of its own."""
    schema = resolved(schema)
    if "properties" in schema and "requests" not in schema["properties"]:
        for key, each in schema["properties"].items():
            yield from leaves(each, (*path, key))
    else:
        yield path, schema


def at(values: dict[str, Any], path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key, {}) if isinstance(values, dict) else {}
    return values


def test_the_readme_is_made_from_the_values():
    assert (CHART / "README.md").read_text() == readme(), "run `make chart`"


def test_every_value_is_in_the_schema_and_the_other_way_round():
    known = {".".join(path) for path, _ in leaves(SCHEMA)}
    rows = {value.key for value in documented((CHART / "values.yaml").read_text())}
    assert rows == known


def test_every_object_of_the_schema_refuses_unknown_keys():
    def look(schema: Any, path: str) -> Iterator[str]:
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("additionalProperties") is not False:
                yield path
            for key, each in schema.items():
                yield from look(each, f"{path}/{key}")

    # `global` is shared with other charts of a parent; resources have what devices a cluster has.
    allowed = {"/properties/global", "/properties/gateway/properties/parentRefs/items"}
    assert set(look(SCHEMA, "")) <= allowed


def test_the_matrix_has_every_pair_and_every_choice_of_the_schema():
    sizes = [2, 3, 2]
    rows = list(pairwise(sizes))
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert len({(row[a], row[b]) for row in rows}) == sizes[a] * sizes[b]
    assert len(CASES) <= 30
    missing = []
    for path, schema in leaves(SCHEMA):
        wanted = schema.get("enum") or ([True, False] if schema.get("type") == "boolean" else [])
        found = [at(merged(VALUES, case), path) for case in CASES]
        missing += [(".".join(path), choice) for choice in wanted if choice not in found]
    assert missing == []
    assert len(FACTORS) > 8


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dashbord": {}}, "dashbord"),
        ({"serving": {"head": {"resource": {}}}}, "resource"),
        ({"serving": {"workers": [{"name": "cpu", "replicas": 1}]}}, "resources"),
        ({"serving": {"workers": [{**WORKER, "name": "job"}]}}, "name"),
        ({"trial": {"password": "short"}}, "password"),
        ({"dashboard": {"resources": {"limits": {"memory": None}}}}, "memory"),
    ],
)
def test_what_the_schema_does_not_know_is_refused(refused, values: dict[str, Any], said: str):
    assert said in refused(merged({"secrets": SECRETS}, values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "secrets.recordsUrl.existingSecret is empty"),
        ({"secrets": {"recordsUrl": {"existingSecret": "r"}}}, "secrets.trackingUrl.existingSecret is empty"),
        ({"trial": {"enabled": True}}, "trial.password is empty"),
        ({"secrets": SECRETS, "mlflow": {"replicas": 2}}, "mlflow.replicas is above 1"),
        (
            {"secrets": SECRETS, "serving": {"upgrade": {"strategy": "NewClusterWithIncrementalUpgrade"}}},
            "GatewayClass",
        ),
        ({"secrets": SECRETS, "ingress": {"enabled": True}}, "ingress.dashboard.host"),
        ({"secrets": SECRETS, "backup": {"enabled": True}}, "set backup.place"),
        ({"secrets": SECRETS, "backup": {"enabled": True, "place": "s3://b/{at}"}}, "set mlflow.artifacts"),
        (
            {"secrets": SECRETS, "rayJobs": {"cluster": {"enabled": True}}},
            "rayJobs.cluster.enabled is true: set rayJobs.enabled",
        ),
        (
            {"secrets": SECRETS, "serving": {"workers": [WORKER, WORKER]}},
            "serving.workers has two groups with the name cpu",
        ),
        (
            {"secrets": SECRETS, "serving": {"workers": [{**WORKER, "maxReplicas": 1}]}},
            "replicas of cpu is not between",
        ),
    ],
)
def test_values_that_need_each_other_are_asked_for(refused, values: dict[str, Any], said: str):
    assert said in refused(values)


def test_the_values_of_the_trial_render(render: Render):
    trial = yaml.safe_load((CHART / "values-trial.yaml").read_text())
    made = render(merged(trial, {"trial": {"password": "correct-horse-battery"}}))
    assert {one["metadata"]["name"] for one in made if one["kind"] == "StatefulSet"} == {
        f"{RELEASE}-tidemill-trial-postgres",
        f"{RELEASE}-tidemill-trial-valkey",
    }


def test_helm_finds_nothing_to_complain_about(programs, tmp_path):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"secrets": SECRETS}))
    command = [str(programs / "helm"), "lint", "--strict", str(CHART), "--values", str(values)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
