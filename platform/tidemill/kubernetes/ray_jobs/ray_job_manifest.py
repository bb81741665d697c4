"""Makes the manifest of a RayJob (ray.io/v1) from the chart's template and the project's settings."""

import copy
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill.errors import ConfigError
from tidemill.files.yaml_reading import YamlError, parse_yaml
from tidemill.project.kubernetes_config import JobResources, KubernetesConfig

__all__ = ["KIND", "RELEASE", "SUBJECT", "job_name", "ray_job", "read_template", "shared_cluster"]

KIND = "tidemill.io/work"
"""Label with the kind of the work: ``turn`` or ``scoring``."""
SUBJECT = "tidemill.io/subject"
"""Label with the turn's id, or the name of the schedule's job."""
RELEASE = "tidemill.io/release"
"""Label with the name of the chart's objects: several projects of one release differ in it."""
_SHARED = "tidemill.io/shared-cluster"
"""Annotation of the template with the name of the chart's RayCluster."""
_LONGEST = 47  # of a RayJob's name
_GPU = "nvidia.com/gpu"

Manifest = dict[str, Any]


def job_name(*parts: str) -> str:
    """Return a RayJob's name for these parts: the same for the same, another one for others.

    >>> job_name("turn_01kc5v8q8r0b9z6m3x2n7t4w1e")
    'turn-01kc5v8q8r0b9z6m3x2n7t4w1e'
    >>> job_name("score", "Every Night", "2026-01-01T04:00:00+00:00", "1")
    'score-every-night-2026-01-01t04-00-00-dbb7ebcf'
    """
    whole = "-".join(parts)
    plain = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if len(parts) == 1 and len(plain) <= _LONGEST:
        return plain
    return f"{plain[: _LONGEST - 9].rstrip('-')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def read_template(file: Path) -> Manifest:
    """Read the chart's template of a RayJob: labels, and the Ray cluster of jobs.

    Raises:
        ConfigError: there is none, or it is not one.
    """
    hint = "set rayJobs.enabled in the chart's values"
    try:
        content = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, YamlError) as error:
        raise ConfigError(f"the template of Ray jobs cannot be read: {file}: {error}", hint=hint) from error
    if not isinstance(content, dict) or content.get("kind") != "RayJob":
        raise ConfigError(f"{file} is no template of a RayJob", hint=hint)
    return content


def shared_cluster(template: Mapping[str, Any], config: KubernetesConfig) -> str:
    """Return the name of the RayCluster that jobs share: the project's, else the chart's.

    Raises:
        ConfigError: there is none.
    """
    named = config.cluster or (template["metadata"].get("annotations") or {}).get(_SHARED)
    if named is None:
        raise ConfigError(
            "kubernetes.turns or kubernetes.scoring is cluster, and there is no RayCluster",
            hint="set rayJobs.cluster.enabled in the chart's values, or name one in kubernetes.cluster",
        )
    return str(named)


def ray_job(
    template: Mapping[str, Any],
    config: KubernetesConfig,
    name: str,
    labels: Mapping[str, str],
    command: Sequence[str],
    *,
    shared: bool,
    retries: int | None = None,
) -> Manifest:
    """Return the manifest of a job.

    Args:
        template: as `read_template` returns it.
        config: of the project.
        name: of the job.
        labels: beside the template's.
        command: what it runs, on the Ray cluster's head.
        shared: whether it runs on the RayCluster of `shared_cluster`, not on one of its own.
        retries: in place of ``config.retries``.
    """
    made: Manifest = copy.deepcopy(dict(template))
    made["metadata"] = {"name": name, "labels": {**made["metadata"]["labels"], **labels}}
    spec = {
        "entrypoint": shlex.join(command),
        # KubeRay asks Ray itself: no pod that would submit it.
        "submissionMode": "HTTPMode",
        "activeDeadlineSeconds": int(config.hours * 3600),
    }
    if shared:
        made["spec"] = {**spec, "clusterSelector": {"ray.io/cluster": shared_cluster(template, config)}}
        return made
    cluster = made["spec"]["rayClusterSpec"]
    workers = cluster.pop("workerGroupSpecs")
    if config.resources.workers:
        [group] = workers
        count = config.resources.workers
        group |= {"replicas": count, "minReplicas": count, "maxReplicas": count}
        _ask(group["template"], config.resources)
        cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] = "0"
        cluster["workerGroupSpecs"] = [group]
    else:
        _ask(cluster["headGroupSpec"]["template"], config.resources)
    made["spec"] = {
        **spec,
        "backoffLimit": config.retries if retries is None else retries,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": config.keep_minutes * 60,
        "rayClusterSpec": cluster,
    }
    return made


def _ask(template: Manifest, wanted: JobResources) -> None:
    limits: dict[str, Any] = {"memory": wanted.memory, **({_GPU: wanted.gpus} if wanted.gpus else {})}
    cpu = f"{round(wanted.cpus * 1000)}m"
    template["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": cpu, "memory": wanted.memory},
        "limits": limits,
    }
