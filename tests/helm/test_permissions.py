"""The controller may do at the API server what its code does there, and nothing else."""

import ast
from pathlib import Path

import pytest

from tests.helm.conftest import RELEASE, ROOT, Render
from tests.helm.values_matrix import SECRETS
from tidemill.kubernetes import cluster_api
from tidemill.kubernetes.cluster_api import Resource

pytestmark = pytest.mark.slow

ROOM = ROOT / "platform" / "tidemill" / "kubernetes"
VERBS = {
    "get": "get",
    "list": "list",
    "create": "create",
    "replace": "update",
    "delete": "delete",
    "watch": "watch",
}
RESOURCES = {name: one for name, one in vars(cluster_api).items() if isinstance(one, Resource)}

Right = tuple[str, str, str]


def used(file: Path) -> set[Right]:
    """Each verb that the code calls by a resource's name."""
    return {
        (RESOURCES[node.args[0].id].group, RESOURCES[node.args[0].id].plural, VERBS[node.func.attr])
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in VERBS
        and node.args
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id in RESOURCES
    }


def granted(render: Render, account: str) -> set[Right]:
    made = render({"secrets": SECRETS, "rayJobs": {"enabled": True}})
    roles = {one["metadata"]["name"]: one["rules"] for one in made if one["kind"] == "Role"}
    bound = [
        one["roleRef"]["name"]
        for one in made
        if one["kind"] == "RoleBinding" and account in [subject["name"] for subject in one["subjects"]]
    ]
    return {
        (group, resource, verb)
        for name in bound
        for rule in roles[name]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_roles_grant_exactly_what_the_code_uses(render: Render):
    asked = set().union(*(used(file) for file in ROOM.rglob("*.py")))
    assert ("coordination.k8s.io", "leases", "update") in asked
    assert granted(render, f"{RELEASE}-tidemill-controller") == asked
    assert granted(render, f"{RELEASE}-tidemill-dashboard") == used(ROOM / "cluster_facts.py")


def test_what_is_there_is_restricted_by_name(render: Render):
    roles = [one for one in render({"secrets": SECRETS}) if one["kind"] == "Role"]
    [lease] = [
        container["args"][container["args"].index("--lease") + 1]
        for one in render({"secrets": SECRETS})
        if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("-controller")
        for container in one["spec"]["template"]["spec"]["containers"]
    ]
    for rule in (rule for role in roles for rule in role["rules"]):
        if rule["resources"] == ["leases"] and rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == [lease]
