"""The controller may do at the API server what its code does there, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helm.conftest import RELEASE, ROOT, Manifest, Render
from tests.helm.values_matrix import SECRETS
from tests.tidemill.kubernetes.api_server import ApiServer, serve_api
from tidemill.errors import ClusterError
from tidemill.kubernetes import cluster_api
from tidemill.kubernetes.cluster_api import LEASES, RAY_JOBS, RAY_SERVICES, Resource
from tidemill.kubernetes.cluster_facts import read_cluster
from tidemill.kubernetes.leader_lease import LeaderLease
from tidemill.kubernetes.ray_jobs.cluster_jobs import ClusterJobs
from tidemill.project.kubernetes_config import KubernetesConfig

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
CONTROLLER, DASHBOARD = f"{RELEASE}-tidemill-controller", f"{RELEASE}-tidemill-dashboard"

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


def rules(manifests: list[Manifest], account: str) -> list[Manifest]:
    """Return the rules of the Roles that are bound to an account."""
    roles = {one["metadata"]["name"]: one["rules"] for one in manifests if one["kind"] == "Role"}
    return [
        rule
        for one in manifests
        if one["kind"] == "RoleBinding" and account in [subject["name"] for subject in one["subjects"]]
        for rule in roles[one["roleRef"]["name"]]
    ]


def granted(given: list[Manifest]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in given
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture(scope="module")
def made(render: Render) -> list[Manifest]:
    return render({"secrets": SECRETS, "rayJobs": {"enabled": True}})


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serve_api() as running:
        yield running
        for one in running.clients:
            one.close()


def test_the_roles_grant_exactly_what_the_code_uses(made: list[Manifest]):
    asked = set().union(*(used(file) for file in ROOM.rglob("*.py")))
    assert ("coordination.k8s.io", "leases", "update") in asked
    assert granted(rules(made, CONTROLLER)) == asked
    assert granted(rules(made, DASHBOARD)) == used(ROOM / "cluster_facts.py")


def test_each_verb_of_the_controller_is_used_and_none_beyond_them(
    made: list[Manifest], server: ApiServer, tmp_path: Path
):
    """Its Lease, and the life of a RayJob, at an API server that grants what its Roles grant."""
    server.rules = rules(made, CONTROLLER)
    api, seconds = server.client(), iter(range(1000))
    lease = LeaderLease(api, CONTROLLER, "pod_1", monotonic=lambda: float(next(seconds)))
    lease.step()
    lease.step()
    lease.release()
    [content] = [one["data"]["ray-job.yaml"] for one in made if one["metadata"]["name"].endswith("-ray-job")]
    (tmp_path / "ray-job.yaml").write_text(content)
    jobs = ClusterJobs(api, tmp_path / "ray-job.yaml", KubernetesConfig())
    for _ in range(2):  # the second time it is adopted
        jobs.start("turn-1", "turn", "turn_1", ["python"], shared=False)
    assert [one.name for one in jobs.all()] == ["turn-1"]
    assert read_cluster(api, f"{RELEASE}-tidemill").problems == ()
    assert jobs.end("turn-1")
    assert server.refused == []
    assert server.used == granted(server.rules)


def test_the_dashboard_reads_and_changes_nothing(made: list[Manifest], server: ApiServer):
    server.rules = rules(made, DASHBOARD)
    api = server.client()
    assert read_cluster(api, f"{RELEASE}-tidemill").problems == ()
    assert server.used == granted(server.rules)
    job = {"metadata": {"name": "mine"}}
    for act in (
        lambda: api.create(RAY_JOBS, job),
        lambda: api.delete(RAY_JOBS, "mine"),
        lambda: api.replace(LEASES, CONTROLLER, job),
        lambda: api.get(LEASES, "kube-scheduler"),
        lambda: api.get(RAY_SERVICES, "another-serving"),
    ):
        with pytest.raises(ClusterError, match="403"):
            act()


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
