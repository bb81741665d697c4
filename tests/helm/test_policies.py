"""What every manifest of every case must keep to."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from tests.helm.conftest import NAMESPACE, RELEASE, Manifest, Render
from tests.helm.values_matrix import CASES, SECRETS, TRIAL_PASSWORD

pytestmark = pytest.mark.slow

WORKLOADS = ("Deployment", "StatefulSet", "Job")
RAYS = ("RayService", "RayCluster")
ROLES = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
NUMBERS = range(len(CASES))


class Pod(NamedTuple):
    """A pod that somebody makes: of what, its labels, its spec, and how many there are."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]
    count: int
    claims: frozenset[str] = frozenset()
    """Volumes that each pod gets of its own."""

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def is_ray(self) -> bool:
        return self.owner.startswith(("RayService", "RayCluster", "ConfigMap"))


def pods(manifests: list[Manifest]) -> Iterator[Pod]:
    for one in manifests:
        kind, name, spec = one["kind"], one["metadata"]["name"], one.get("spec", {})
        if kind in WORKLOADS:
            count = spec.get("replicas", 2 if kind == "Deployment" else 1)
            claims = frozenset(claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", []))
            template = spec["template"]
            yield Pod(f"{kind}/{name}", template["metadata"]["labels"], template["spec"], count, claims)
        elif kind == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
            yield Pod(f"{kind}/{name}", template["metadata"]["labels"], template["spec"], 1)
        elif kind == "Pod":
            yield Pod(f"{kind}/{name}", one["metadata"]["labels"], spec, 1)
        elif kind in RAYS or name.endswith("-ray-job"):
            job = yaml.safe_load(one["data"]["ray-job.yaml"]) if kind == "ConfigMap" else None
            cluster = job["spec"]["rayClusterSpec"] if job else ray_of(one)
            groups = [("head", cluster["headGroupSpec"], 1)]
            groups += [(g["groupName"], g, g["maxReplicas"]) for g in cluster.get("workerGroupSpecs", [])]
            for group, given, count in groups:
                template = given["template"]
                yield Pod(f"{kind}/{name}/{group}", template["metadata"]["labels"], template["spec"], count)


def ray_of(one: Manifest) -> dict[str, Any]:
    """The Ray cluster of an object that has one."""
    return one["spec"].get("rayClusterConfig", one["spec"])


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for wanted in selector.get("matchExpressions", []):
        assert wanted["operator"] == "In"
        if labels.get(wanted["key"]) not in wanted["values"]:
            return False
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] in kinds]


@pytest.fixture(params=NUMBERS)
def manifests(request: pytest.FixtureRequest, render: Render) -> list[Manifest]:
    return render(CASES[request.param])


def test_every_pod_keeps_to_pod_security_restricted_and_reads_only(manifests: list[Manifest]):
    for pod in pods(manifests):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.owner
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
        volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
        allowed = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
        assert all(volume.keys() <= allowed for volume in volumes.values()), pod.owner
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, (pod.owner, container["name"])
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys() | pod.claims
            assert "hostPort" not in json.dumps(container.get("ports", []))


def test_every_container_asks_for_resources_and_has_a_memory_limit(manifests: list[Manifest]):
    for pod in pods(manifests):
        for container in pod.containers:
            resources = container["resources"]
            assert {"cpu", "memory"} <= resources["requests"].keys(), (pod.owner, container["name"])
            assert "memory" in resources["limits"]


def test_what_listens_is_probed(manifests: list[Manifest]):
    """The controller listens nowhere, and ends when it cannot go on; Ray's probes are KubeRay's to write."""
    for pod in pods(manifests):
        if pod.is_ray or pod.labels["app.kubernetes.io/component"] in ("controller", "jobs", "test"):
            continue
        for container in pod.spec["containers"]:
            assert {"readinessProbe", "livenessProbe"} <= container.keys(), pod.owner
            names = {port["name"] for port in container["ports"]}
            for probe in ("readinessProbe", "livenessProbe"):
                asked = container[probe].get("httpGet") or container[probe]["tcpSocket"]
                assert asked["port"] in names


def test_nothing_reaches_a_pod_or_leaves_it_unless_a_policy_says_so(manifests: list[Manifest], request):
    policies = of_kind(manifests, "NetworkPolicy")
    if CASES[request.node.callspec.params["manifests"]].get("networkPolicy", {}).get("enabled") is False:
        assert policies == []
        return
    denying = [p for p in policies if not {"ingress", "egress"} & p["spec"].keys()]
    found = list(pods(manifests))
    for pod in found:
        denied = [p for p in denying if matches(p["spec"]["podSelector"], pod.labels)]
        assert [set(p["spec"]["policyTypes"]) for p in denied] == [{"Ingress", "Egress"}], pod.owner
        for container in pod.spec["containers"]:
            opened = [
                port["port"]
                for policy in policies
                if matches(policy["spec"]["podSelector"], pod.labels)
                for rule in policy["spec"].get("ingress", [])
                for port in rule.get("ports", [])
            ]
            if not pod.is_ray:  # its nodes reach each other on all ports
                assert {port["containerPort"] for port in container.get("ports", [])} == set(opened), (
                    pod.owner
                )
    for policy in policies:
        selector = policy["spec"]["podSelector"]
        assert any(matches(selector, pod.labels) for pod in found), policy["metadata"]["name"]


def test_mlflow_is_reached_from_the_release_alone(manifests: list[Manifest]):
    for policy in of_kind(manifests, "NetworkPolicy"):
        for rule in policy["spec"].get("ingress", []):
            if any(port["port"] == 5000 for port in rule.get("ports", [])):
                own = {"app.kubernetes.io/name": "tidemill", "app.kubernetes.io/instance": RELEASE}
                assert rule["from"] == [{"podSelector": {"matchLabels": own}}]


def test_several_pods_have_a_disruption_budget(manifests: list[Manifest], request):
    case = CASES[request.node.callspec.params["manifests"]]
    budgets = of_kind(manifests, "PodDisruptionBudget")
    if case.get("podDisruptionBudgets", {}).get("enabled") is False:
        assert budgets == []
        return
    for pod in pods(manifests):
        found = [one for one in budgets if matches(one["spec"]["selector"], pod.labels)]
        if pod.owner.startswith(("Deployment", "StatefulSet")):
            assert len(found) == (pod.count > 1), pod.owner


def test_selectors_match(manifests: list[Manifest]):
    found = list(pods(manifests))
    for one in of_kind(manifests, "Deployment", "StatefulSet"):
        assert matches(one["spec"]["selector"], one["spec"]["template"]["metadata"]["labels"])
    for one in of_kind(manifests, "Service"):
        chosen = [pod for pod in found if matches({"matchLabels": one["spec"]["selector"]}, pod.labels)]
        assert len(chosen) == 1, one["metadata"]["name"]
        ports = {port["name"] for container in chosen[0].spec["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
    for one in of_kind(manifests, "PodDisruptionBudget"):
        assert any(matches(one["spec"]["selector"], pod.labels) for pod in found)
    for one in of_kind(manifests, "ServiceMonitor"):
        [ray] = of_kind(manifests, "RayService")
        assert matches(one["spec"]["selector"], ray["spec"]["serveService"]["metadata"]["labels"])


def test_what_is_named_is_there(manifests: list[Manifest], request):
    """Services behind doors, claims, accounts and ConfigMaps of pods, targets of autoscalers."""
    named = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    case = CASES[request.node.callspec.params["manifests"]]
    brought = {case.get("project", {}).get("volume", {}).get("existingClaim")}
    rays = [ray for ray in of_kind(manifests, "RayService") if "serveService" in ray["spec"]]
    served = {ray["spec"]["serveService"]["metadata"]["name"] for ray in rays}
    services = {name for kind, name in named if kind == "Service"} | served
    for pod in pods(manifests):
        account = pod.spec.get("serviceAccountName", "default")
        assert account == "default" or ("ServiceAccount", account) in named, pod.owner
        for volume in pod.spec["volumes"]:
            if claim := volume.get("persistentVolumeClaim", {}).get("claimName"):
                assert claim in brought or ("PersistentVolumeClaim", claim) in named
            if content := volume.get("configMap", {}).get("name"):
                assert ("ConfigMap", content) in named
        for address in re.findall(r"http://(shop-[\w-]+):(\d+)", json.dumps(pod.spec)):
            assert address[0] in services, pod.owner
    for one in of_kind(manifests, "Ingress"):
        for rule in one["spec"]["rules"]:
            assert rule["http"]["paths"][0]["backend"]["service"]["name"] in services
    for one in of_kind(manifests, "HTTPRoute"):
        assert one["spec"]["rules"][0]["backendRefs"][0]["name"] in services
    for one in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]
        assert (target.get("kind", "Deployment"), target["name"]) in named
        [scaled] = [d for d in of_kind(manifests, "Deployment") if d["metadata"]["name"] == target["name"]]
        assert "replicas" not in scaled["spec"], "helm upgrade would undo the autoscaler"


def test_no_secret_is_in_a_configmap_an_argument_or_the_environment(manifests: list[Manifest]):
    for one in manifests:
        if one["kind"] == "Secret":
            continue
        assert TRIAL_PASSWORD not in yaml.safe_dump(one), one["metadata"]["name"]
    for pod in pods(manifests):
        for container in pod.containers:
            for variable in container.get("env", []):
                if re.search(r"PASSWORD$|SECRET|_KEY|TOKEN|STATE_URL|BROKER_URL|STORE_URI", variable["name"]):
                    assert "value" not in variable, (pod.owner, variable["name"])
            assert "$(" not in json.dumps([container.get("command"), container.get("args")])


def test_the_controller_and_the_dashboard_alone_may_ask_the_api_server(manifests: list[Manifest], request):
    """Ray's autoscaler may, too, by roles that KubeRay makes."""
    case = CASES[request.node.callspec.params["manifests"]]
    parts = ["cluster-facts", *(["controller"] if case.get("controller", {}).get("enabled", True) else [])]
    wanted = parts if case.get("rbac", {}).get("create", True) else []
    found = [(one["kind"], one["metadata"]["name"]) for one in of_kind(manifests, *ROLES)]
    assert sorted(found) == [
        (kind, f"{RELEASE}-tidemill-{part}") for kind in ("Role", "RoleBinding") for part in wanted
    ]
    asking = [pod for pod in pods(manifests) if pod.owner.endswith(("-controller", "-dashboard"))]
    accounts = {pod.spec["serviceAccountName"] for pod in asking}
    for binding in of_kind(manifests, "RoleBinding"):
        named = {subject["name"] for subject in binding["subjects"]}
        assert named & accounts
        assert named <= accounts | {f"{RELEASE}-tidemill-controller"}
    scaled = {
        f"{ray['kind']}/{ray['metadata']['name']}/head"
        for ray in of_kind(manifests, *RAYS)
        if ray_of(ray).get("enableInTreeAutoscaling")
    }
    assert all(one["automountServiceAccountToken"] is False for one in of_kind(manifests, "ServiceAccount"))
    for pod in pods(manifests):
        asks = pod in asking or pod.owner in scaled
        assert pod.spec["automountServiceAccountToken"] is asks, pod.owner


def test_every_object_is_of_this_release_and_namespace(manifests: list[Manifest], request):
    seen = set()
    namespace = CASES[request.node.callspec.params["manifests"]].get("namespaceOverride", NAMESPACE)
    for one in manifests:
        about = one["metadata"]
        assert about["namespace"] == namespace
        assert about["labels"]["app.kubernetes.io/instance"] == RELEASE
        assert about["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert (one["kind"], about["name"]) not in seen
        seen.add((one["kind"], about["name"]))


def test_names_stay_short_enough_whatever_the_release_is_called(render: Render):
    made = render({"secrets": SECRETS}, release="a-release-whose-name-is-as-long-as-helm-lets-it-be-xx")
    for one in made:
        assert len(one["metadata"]["name"]) <= (47 if one["kind"] == "RayService" else 63), one["metadata"][
            "name"
        ]
        assert all(len(str(value)) <= 63 for value in one["metadata"]["labels"].values())
    assert of_kind(made, "RayService") != []


def test_images_come_from_the_values(render: Render):
    digest = f"sha256:{'0' * 64}"
    made = render(
        {"secrets": SECRETS, "global": {"imageRegistry": "r.example.com/x/"}, "image": {"digest": digest}}
    )
    images = {container["image"] for pod in pods(made) for container in pod.containers}
    assert images == {f"r.example.com/x/tidemill@{digest}"}
    images = {
        container["image"] for pod in pods(render({"secrets": SECRETS})) for container in pod.containers
    }
    [image] = images
    assert not image.endswith("latest")
    assert ":" in image
