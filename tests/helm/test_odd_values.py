"""Values that YAML or Kubernetes take for something else than what was meant."""

from collections.abc import Iterator

import pytest
import yaml

from tests.helm.conftest import RELEASE, Render, template
from tests.helm.custom_resources import SCHEMAS
from tests.helm.test_manifests import MINORS, problems
from tests.helm.values_matrix import BACKUP, OIDC, SECRETS, merged

pytestmark = pytest.mark.slow

ODD = "123"
"""A name that Kubernetes allows, and YAML reads as a number."""
VALUES = {
    "secrets": {name: {"existingSecret": ODD} for name in SECRETS}
    | {"trackingUrl": {"existingSecret": ODD, "key": "m"}},
    "global": {"imagePullSecrets": [ODD]},
    "namespaceOverride": ODD,
    "commonLabels": {"team": "true", "app.kubernetes.io/name": "another"},
    "serviceAccounts": {"podLabels": {"team": "b"}},
    "dashboard": {"podLabels": {"team": "c"}, "priorityClassName": ODD},
    "jobs": {"podAnnotations": {"example.com/note": "1e5"}},
    "oidc": {"config": OIDC, "existingSecret": ODD},
    "project": {"volume": {"storageClass": ODD}},
    "mlflow": {"volume": {"existingClaim": ODD}},
    "backup": {**BACKUP, "passphrase": {"existingSecret": ODD, "key": ODD}},
    "serving": {"faultTolerance": {"redisAddress": "r:1", "password": {"existingSecret": ODD}}},
    "monitoring": {"serviceMonitor": {"enabled": True, "labels": {"app.kubernetes.io/part-of": "p"}}},
    "ingress": {"enabled": True, "className": ODD, "dashboard": {"host": "*.example.com", "tlsSecret": ODD}},
}


def keys(node: yaml.Node) -> Iterator[list[str]]:
    """The keys of each mapping."""
    if isinstance(node, yaml.MappingNode):
        yield [key.value for key, _ in node.value]
        for _, value in node.value:
            yield from keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from keys(value)


def test_names_stay_text_no_key_comes_twice_and_labels_of_selectors_are_ours(programs):
    done = template(programs, VALUES)
    assert done.returncode == 0, done.stderr
    for node in yaml.compose_all(done.stdout, yaml.CSafeLoader):
        for found in keys(node) if node else ():
            assert len(set(found)) == len(found), found
    made = [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]
    for one in made:
        assert one["metadata"]["labels"]["app.kubernetes.io/name"] == "tidemill"
        if one["kind"] not in SCHEMAS:
            assert problems(one, MINORS[-1]) == []
    [dashboard] = [
        one
        for one in made
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", f"{RELEASE}-tidemill-dashboard")
    ]
    assert dashboard["spec"]["template"]["metadata"]["labels"]["team"] == "c", "the nearest one wins"
    [test] = [one for one in made if one["kind"] == "Pod"]
    assert test["metadata"]["annotations"].keys() >= {"helm.sh/hook", "example.com/note"}
    [monitor] = [one for one in made if one["kind"] == "ServiceMonitor"]
    assert monitor["metadata"]["labels"]["app.kubernetes.io/part-of"] == "p"


@pytest.mark.parametrize(
    ("values", "release", "said"),
    [
        ({}, "1shop", "cannot be called 1shop-tidemill: set fullnameOverride"),
        ({"nameOverride": "my.app"}, RELEASE, "nameOverride"),
        ({"project": {"mountPath": "/opt/project/here"}}, RELEASE, "hide /opt/project, or lie in it"),
        ({"project": {"mountPath": "/tmp"}}, RELEASE, "hide /tmp"),
        (
            {"gateway": {"enabled": True, "parentRefs": [{"name": "g"}]}},
            RELEASE,
            "set gateway.dashboardHosts",
        ),
        (
            {"jobs": {"extraEnv": [{"name": "A"}, {"name": "A"}]}, "compaction": {"enabled": True}},
            RELEASE,
            "extraEnv of jobs/compaction: a container or pod would have A twice",
        ),
        (
            {"rayJobs": {"enabled": True, "node": {"extraEnv": [{"name": "HOME", "value": "/home/me"}]}}},
            RELEASE,
            "extraEnv of controller/ray job: a container or pod would have HOME twice",
        ),
        (
            {"dashboard": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}},
            RELEASE,
            "extraVolumes of dashboard",
        ),
        ({"secrets": {"trackingUrl": SECRETS["recordsUrl"] | {"key": "url"}}}, RELEASE, "a database each"),
        ({"backup": {**BACKUP, "place": "s3://b/x.tar.gz"}}, RELEASE, "backup.place has no {at}"),
        (
            {"ingress": {"enabled": True, "dashboard": {"host": "a.b"}, "api": {"host": "a.b"}}},
            RELEASE,
            "the dashboard and the API are both at a.b",
        ),
        (
            {"oidc": {"config": {"providers": {"corp": {"client_secret": "x"}, "odd": None}}}},
            RELEASE,
            "oidc.config.providers.corp has client_secret, and would be in a ConfigMap",
        ),
        ({"dashboard": {"resources": {"requests": {"memory": "plenty"}}}}, RELEASE, "plenty"),
        ({"serving": {"replicaGpus": 0.5}}, RELEASE, "no group of serving.workers has GPUs"),
    ],
)
def test_values_that_could_not_work_are_refused(programs, values: dict, release: str, said: str):
    done = template(programs, merged({"secrets": SECRETS}, values), release)
    assert done.returncode != 0
    assert said in done.stderr


def test_ports_of_addresses_in_the_values_are_let_out(render: Render):
    values = {
        "objectStore": {"endpoint": "http://minio.example.com:9000"},
        "mlflow": {"externalUri": "http://mlflow.example.com"},
        "oidc": {"config": {"providers": {"corp": {"issuer": "https://login.example.com:8443/realm"}}}},
        "serving": {"faultTolerance": {"redisAddress": "redis.example.com:6390"}},
    }
    listed = {"ports": [{"port": 6380, "endPort": 6400}, {"port": 8443, "protocol": "UDP"}]}
    made = render(merged({"secrets": SECRETS, "networkPolicy": {"egress": [listed]}}, values))
    [stores] = [one for one in made if one["metadata"]["name"] == f"{RELEASE}-tidemill-stores"]
    dns, given, added = stores["spec"]["egress"]
    assert [port["port"] for port in dns["ports"]] == [53, 53]
    assert given == listed
    assert added == {"ports": [{"port": port, "protocol": "TCP"} for port in (9000, 80, 8443)]}
