"""Small schemas of the custom resources that the chart makes, from their published definitions.

KubeRay 1.7 (ray.io/v1), Prometheus' operator (monitoring.coreos.com/v1), External Secrets
(external-secrets.io/v1), KEDA 2 (keda.sh/v1alpha1) and the Gateway API (gateway.networking.k8s.io/v1). Only
fields that the chart uses are here: a misspelt one is refused. Pod templates are checked by Kubernetes' own
schemas.
"""

from typing import Any

TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
PERCENT: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 100}
YES: dict[str, Any] = {"type": "boolean"}
ANY: dict[str, Any] = {"type": "object"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": list(required),
    }


def some(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


METADATA = fields("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)
TEMPLATE = fields("metadata", "spec", metadata=ANY, spec=ANY)


def resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return fields(
        *("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=METADATA,
        spec=spec,
    )


RAY_CLUSTER = fields(
    *("rayVersion", "headGroupSpec"),
    rayVersion=TEXT,
    authOptions=fields("mode", mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    upgradeStrategy=fields("type", type={"enum": ["Recreate", "None"]}),
    enableInTreeAutoscaling=YES,
    autoscalerOptions=fields(
        resources=ANY,
        securityContext=ANY,
        idleTimeoutSeconds=COUNT,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
    ),
    gcsFaultToleranceOptions=fields(
        "redisAddress", redisAddress=TEXT, redisPassword=fields(valueFrom=fields(secretKeyRef=ANY))
    ),
    headGroupSpec=fields(
        "rayStartParams", "template", rayStartParams=TEXTS, template=TEMPLATE, serviceType=TEXT
    ),
    workerGroupSpecs=some(
        fields(
            *("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"),
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        )
    ),
)
RAY_SERVICE = resource(
    "ray.io/v1",
    "RayService",
    fields(
        *("serveConfigV2", "rayClusterConfig"),
        serveConfigV2=TEXT,
        upgradeStrategy=fields(
            "type",
            type={"enum": ["NewCluster", "None", "NewClusterWithIncrementalUpgrade"]},
            clusterUpgradeOptions=fields(
                *("gatewayClassName", "stepSizePercent", "intervalSeconds"),
                gatewayClassName=TEXT,
                stepSizePercent=PERCENT,
                intervalSeconds=COUNT,
                maxSurgePercent=PERCENT,
            ),
        ),
        serveService=ANY,
        rayClusterConfig=RAY_CLUSTER,
    ),
)
RAY_JOB = resource(
    "ray.io/v1",
    "RayJob",
    {
        **fields(
            *("entrypoint", "submissionMode"),
            entrypoint=TEXT,
            submissionMode={"enum": ["K8sJobMode", "HTTPMode", "SidecarMode"]},
            activeDeadlineSeconds={"type": "integer", "minimum": 1},
            backoffLimit=COUNT,
            shutdownAfterJobFinishes=YES,
            ttlSecondsAfterFinished=COUNT,
            clusterSelector=fields("ray.io/cluster", **{"ray.io/cluster": TEXT}),
            rayClusterSpec=RAY_CLUSTER,
        ),
        # What KubeRay's operator refuses beyond the definition (ValidateRayJobSpec).
        "oneOf": [
            {"required": ["rayClusterSpec"], "not": {"required": ["clusterSelector"]}},
            {
                "required": ["clusterSelector"],
                "not": {
                    "anyOf": [
                        {"required": [one]}
                        for one in ("rayClusterSpec", "backoffLimit", "ttlSecondsAfterFinished")
                    ]
                },
            },
        ],
        "dependentSchemas": {
            "ttlSecondsAfterFinished": {"properties": {"shutdownAfterJobFinishes": {"const": True}}}
        },
    },
)
SERVICE_MONITOR = resource(
    "monitoring.coreos.com/v1",
    "ServiceMonitor",
    fields(
        *("selector", "endpoints"),
        selector=fields(matchLabels=TEXTS),
        endpoints=some(
            fields(
                port=TEXT,
                path=TEXT,
                interval=TEXT,
                authorization=fields(type=TEXT, credentials=fields("key", name=TEXT, key=TEXT)),
            )
        ),
    ),
)
RULE = fields(
    "expr",
    expr=TEXT,
    record=TEXT,
    alert=TEXT,
    labels=TEXTS,
    annotations=TEXTS,
    **{"for": TEXT, "keep_firing_for": TEXT},
)
PROMETHEUS_RULE = resource(
    "monitoring.coreos.com/v1",
    "PrometheusRule",
    fields("groups", groups=some(fields("name", name=TEXT, interval=TEXT, rules=some(RULE)))),
)
EXTERNAL_SECRET = resource(
    "external-secrets.io/v1",
    "ExternalSecret",
    fields(
        *("secretStoreRef", "target", "data"),
        refreshInterval=TEXT,
        secretStoreRef=fields(
            "name", "kind", name=TEXT, kind={"enum": ["SecretStore", "ClusterSecretStore"]}
        ),
        target=fields(name=TEXT, creationPolicy={"enum": ["Owner", "Orphan", "Merge", "None"]}),
        data=some(
            fields(
                "secretKey",
                "remoteRef",
                secretKey=TEXT,
                remoteRef=fields("key", key=TEXT, property=TEXT, version=TEXT),
            )
        ),
    ),
)
HTTP_ROUTE = resource(
    "gateway.networking.k8s.io/v1",
    "HTTPRoute",
    fields(
        *("parentRefs", "rules"),
        parentRefs=some(fields("name", name=TEXT, namespace=TEXT, sectionName=TEXT, port=COUNT)),
        hostnames=some(TEXT),
        rules=some(
            fields(
                matches=some(
                    fields(
                        path=fields(type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value=TEXT)
                    )
                ),
                backendRefs=some(fields("name", "port", name=TEXT, port=COUNT, weight=COUNT)),
            )
        ),
    ),
)
SCALED_OBJECT = resource(
    "keda.sh/v1alpha1",
    "ScaledObject",
    fields(
        *("scaleTargetRef", "triggers"),
        scaleTargetRef=fields("name", name=TEXT, kind=TEXT, apiVersion=TEXT),
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        triggers=some(
            fields(
                *("type", "metadata"),
                type=TEXT,
                name=TEXT,
                metadata=TEXTS,
                metricType={"enum": ["AverageValue", "Value", "Utilization"]},
                authenticationRef=fields("name", name=TEXT, kind=TEXT),
            )
        ),
    ),
)

SCHEMAS = {
    "RayCluster": resource("ray.io/v1", "RayCluster", RAY_CLUSTER),
    "RayService": RAY_SERVICE,
    "ServiceMonitor": SERVICE_MONITOR,
    "PrometheusRule": PROMETHEUS_RULE,
    "ExternalSecret": EXTERNAL_SECRET,
    "HTTPRoute": HTTP_ROUTE,
    "ScaledObject": SCALED_OBJECT,
}
