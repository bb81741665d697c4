"""Sets of values in which every two choices of different factors occur together (pairwise)."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

SECRETS = {
    "recordsUrl": {"existingSecret": "records"},
    "trackingUrl": {"existingSecret": "mlflow", "key": "address"},
    "brokerUrl": {"existingSecret": "broker"},
    "apiKey": {"existingSecret": "api-key"},
    "privacyKey": {"existingSecret": "privacy"},
    "objectStore": {"existingSecret": "s3"},
    "firstAdmin": {"name": "ada", "existingSecret": "admin"},
}
TRIAL_PASSWORD = "correct-horse-battery"
BACKUP = {
    "enabled": True,
    "place": "s3://backups/shop-{at}.tar.gz",
    "artifacts": "s3://models",
    "with": ["log", "keys"],
    "passphrase": {"existingSecret": "backups"},
}
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
POD = {
    "nodeSelector": {"pool": "ml"},
    "tolerations": [{"key": "ml", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "podLabels": {"team": "pricing"},
    "podAnnotations": {"example.com/note": "yes"},
    "extraEnv": [{"name": "LOG_LEVEL", "value": "debug"}],
    "extraVolumes": [{"name": "certificates", "secret": {"secretName": "certificates"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/certificates", "readOnly": True}],
}
GPU = {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi", "nvidia.com/gpu": 1}}
WORKER = {"name": "cpu", "replicas": 2, "resources": RESOURCES}
GPU_WORKER = {
    "name": "gpu", "replicas": 0, "minReplicas": 0, "maxReplicas": 4, "resources": GPU,
    "rayStartParams": {"num-cpus": "4"}, **POD,
}  # fmt: skip
KEDA = [
    {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
    {"type": "prometheus", "metadata": {"query": "up"}, "authenticationRef": {"name": "prometheus"}},
]
OIDC = {
    "address": "https://tidemill.example.com",
    "providers": {"corp": {"issuer": "https://login.example.com", "client_id": "tidemill"}},
}

FACTORS: dict[str, list[dict[str, Any]]] = {
    "stores": [
        {"secrets": SECRETS},
        {
            "trial": {"enabled": True, "password": TRIAL_PASSWORD},
            "secrets": {"apiKey": {"existingSecret": "api-key"}},
            "migrations": {"hooks": "post-install,post-upgrade"},
        },
        {
            "secrets": SECRETS,
            "externalSecrets": {
                "enabled": True,
                "store": {"name": "vault", "kind": "SecretStore"},
                "items": [
                    {"name": "records", "data": {"url": {"key": "tidemill/records", "property": "url"}}}
                ],
            },
        },
        {
            "secrets": SECRETS,
            "externalSecrets": {
                "enabled": True,
                "store": {"name": "vault", "kind": "ClusterSecretStore"},
                "items": [
                    {"name": "records", "data": {"url": {"key": "tidemill/records"}}},
                    {"name": "mlflow", "data": {"address": {"key": "tidemill/mlflow"}}},
                ],
            },
        },
    ],
    "volume": [
        {},
        {"project": {"volume": {"existingClaim": "flights"}}},
        {"project": {"volume": {"accessModes": ["ReadWriteOnce"], "keep": False, "storageClass": "fast"}}},
    ],
    "dashboard": [
        {},
        {"dashboard": {"replicas": 1, "trustedProxies": ["10.0.0.0/8"], "service": {"type": "NodePort"}}},
        {
            "dashboard": {
                "autoscaling": {"enabled": True},
                "service": {"type": "LoadBalancer", "port": 8080},
                **POD,
            }
        },
    ],
    "mlflow": [
        {},
        {
            "mlflow": {"artifacts": "s3://models/mlflow", "replicas": 3, **POD},
            "objectStore": {"endpoint": "https://s3.example.com"},
        },
        {"mlflow": {"externalUri": "https://mlflow.example.com"}},
        {"mlflow": {"volume": {"keep": False, "storageClass": "fast"}}},
        {"mlflow": {"artifacts": "s3://models", "autoscaling": {"enabled": True, "kedaTriggers": KEDA}}},
    ],
    "serving": [
        {},
        {"serving": {"enabled": False, "externalUrl": "https://predict.example.com"}},
        {
            "serving": {
                "workers": [],
                "tokenAuthentication": False,
                "upgrade": {"strategy": "None"},
                "head": POD,
            }
        },
        {
            "serving": {
                "autoscaling": {"enabled": True},
                "replicaGpus": 0.5,
                "workers": [WORKER, GPU_WORKER],
                "faultTolerance": {
                    "redisAddress": "redis.example.com:6379",
                    "password": {"existingSecret": "redis"},
                },
            }
        },
        {
            "serving": {
                "upgrade": {"strategy": "NewClusterWithIncrementalUpgrade", "gatewayClassName": "istio"},
                "externalUrl": "http://gateway.example.com",
            }
        },
    ],
    "jobs": [
        {},
        {"serving": {"jobs": True}, "compaction": {"enabled": True}, "controller": {"enabled": False}},
        {
            "rayJobs": {
                "enabled": True,
                "node": POD,
                "cluster": {"enabled": True, "head": POD, "workers": [WORKER, GPU_WORKER]},
            },
            "monitors": {"enabled": True},
            "controller": {"replicas": 1, **POD},
            "compaction": {"enabled": True},
            "jobs": POD,
        },
        {
            "backup": BACKUP,
            "rayJobs": {"enabled": True, "cluster": {"enabled": True, "autoscaling": {"enabled": False}}},
        },
    ],
    "doors": [
        {},
        {
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "dashboard": {"host": "mill.example.com", "tlsSecret": "tls"},
                "api": {"host": "predict.example.com", "tlsSecret": "tls"},
            }
        },
        {
            "gateway": {
                "enabled": True,
                "parentRefs": [{"name": "public", "namespace": "gateways"}],
                "dashboardHosts": ["mill.example.com"],
                "apiHosts": ["predict.example.com"],
            }
        },
        {"ingress": {"enabled": True, "dashboard": {"host": "mill.example.com"}}},
    ],
    "people": [{}, {"oidc": {"config": OIDC, "existingSecret": "oidc"}}],
    "watching": [
        {},
        {
            "monitoring": {
                "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
                "prometheusRule": {"enabled": True},
                "grafana": {"enabled": True},
            }
        },
    ],
    "guards": [
        {},
        {
            "networkPolicy": {"enabled": False},
            "podDisruptionBudgets": {"enabled": False},
            "topologySpread": {"enabled": False},
            "serviceAccounts": {"create": False},
            "rbac": {"create": False},
        },
        {
            "topologySpread": {"whenUnsatisfiable": "DoNotSchedule"},
            "podDisruptionBudgets": {"maxUnavailable": "50%"},
            "serviceAccounts": {
                "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/tidemill"},
                "annotationsOf": {"mlflow": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/mlflow"}},
                "podLabels": {"azure.workload.identity/use": "true"},
            },
        },
    ],
    "image": [
        {},
        {
            "global": {"imageRegistry": "registry.example.com", "imagePullSecrets": ["registry"]},
            "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
            "commonLabels": {"cost": "ml"},
        },
        {
            "image": {"tag": "2026-11", "pullPolicy": "Never"},
            "namespaceOverride": "prices",
            "quota": {"hard": {"requests.cpu": "32", "pods": 100}},
        },
    ],
}


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all parts; the later ones win."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            before = whole.get(key)
            whole[key] = (
                merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
            )
    return whole


def pairwise(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """Give rows in which every two choices of two factors occur together, greedily few of them."""
    pairs = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(sizes)), 2)
        for i in range(sizes[a])
        for j in range(sizes[b])
    }
    while pairs:
        first = min(pairs)
        row: dict[int, int] = {first[0]: first[1], first[2]: first[3]}
        for factor in (at for at in range(len(sizes)) if at not in row):
            row[factor] = max(
                range(sizes[factor]), key=lambda choice: (_gain(pairs, row, factor, choice), -choice)
            )
        whole = tuple(row[factor] for factor in range(len(sizes)))
        yield whole
        pairs -= {(a, whole[a], b, whole[b]) for a, b in itertools.combinations(range(len(sizes)), 2)}


def _gain(pairs: set[tuple[int, int, int, int]], row: dict[int, int], factor: int, choice: int) -> int:
    met = ((*sorted([(factor, choice), other]),) for other in row.items())
    return sum((*one, *two) in pairs for one, two in met)


CASES: list[dict[str, Any]] = [
    merged(*(choices[at] for choices, at in zip(FACTORS.values(), row, strict=True)))
    for row in pairwise([len(choices) for choices in FACTORS.values()])
]
