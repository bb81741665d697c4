"""The manifests of RayJobs that the controller makes from the chart's template and a project's settings."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.helm.conftest import Manifest, Render
from tests.helm.custom_resources import RAY_JOB
from tests.helm.test_manifests import MINORS, problems
from tests.helm.values_matrix import GPU_WORKER, POD, SECRETS, WORKER
from tidemill.errors import ConfigError
from tidemill.kubernetes.ray_jobs.ray_job_manifest import (
    KIND,
    SUBJECT,
    ray_job,
    read_template,
    shared_cluster,
)
from tidemill.project.kubernetes_config import KubernetesConfig
from tidemill.settings import Settings

pytestmark = pytest.mark.slow

COMMAND = ["python", "-m", "tidemill.kubernetes.ray_jobs.job_process", "--project", "/a project"]
LABELS = {KIND: "turn", SUBJECT: "turn_1"}


@pytest.fixture(scope="module")
def template(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    made = render({"secrets": SECRETS, "rayJobs": {"enabled": True, "node": POD}})
    [content] = [one["data"]["ray-job.yaml"] for one in made if one["metadata"]["name"].endswith("-ray-job")]
    file = tmp_path_factory.mktemp("template") / "ray-job.yaml"
    file.write_text(content)
    return read_template(Path(file))


def checked(template: Manifest, shared: bool = False, **settings: Any) -> dict[str, Any]:
    """A job's spec, if Kubernetes and KubeRay take it."""
    config = KubernetesConfig.model_validate(settings)
    job = ray_job(template, config, "turn-1", LABELS, COMMAND, shared=shared)
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"].get("rayClusterSpec", {})
    groups = [cluster[key] for key in ("headGroupSpec",) if key in cluster]
    for group in groups + cluster.get("workerGroupSpecs", []):
        pod = {"metadata": {"name": "ray"}, "template": group["template"]}
        for minor in MINORS:
            assert problems({"apiVersion": "v1", "kind": "PodTemplate", **pod}, minor) == []
    assert job["metadata"]["labels"].items() >= LABELS.items()
    return job["spec"]


def resources(group: Manifest) -> Any:
    return group["template"]["spec"]["containers"][0]["resources"]


def test_a_job_without_workers_computes_on_its_head(template: Manifest):
    before = json.dumps(template)
    asked = {"cpus": 1.5, "memory": "16Gi", "gpus": 1}
    spec = checked(template, resources=asked, retries=3, keep_minutes=5, hours=0.5)
    cluster = spec["rayClusterSpec"]
    assert resources(cluster["headGroupSpec"]) == {
        "requests": {"cpu": "1500m", "memory": "16Gi"},
        "limits": {"memory": "16Gi", "nvidia.com/gpu": 1},
    }
    assert "workerGroupSpecs" not in cluster
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"]) == (
        3,
        300,
        1800,
    )
    assert spec["entrypoint"].endswith("--project '/a project'")
    assert json.dumps(template) == before, "the template is for the next job, too"


def test_a_job_with_workers_computes_on_these(template: Manifest):
    cluster = checked(template, resources={"cpus": 4, "workers": 3})["rayClusterSpec"]
    [group] = cluster["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (3, 3, 3)
    assert resources(group)["requests"] == {"cpu": "4000m", "memory": "8Gi"}
    assert resources(cluster["headGroupSpec"])["requests"] == {"cpu": "1", "memory": "4Gi"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_a_job_on_a_shared_cluster_brings_none(template: Manifest):
    spec = checked(template, shared=True, turns="cluster", cluster="training")
    assert spec["clusterSelector"] == {"ray.io/cluster": "training"}


def test_what_kuberay_would_refuse_would_be_found(template: Manifest):
    job = ray_job(template, KubernetesConfig(), "turn-1", LABELS, COMMAND, shared=False)
    for wrong in (
        {"backofLimit": 1},
        {"shutdownAfterJobFinishes": False},
        {"clusterSelector": {"ray.io/cluster": "x"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**job, "spec": {**job["spec"], **wrong}}, RAY_JOB)


def test_turns_that_people_ask_for_are_left_to_a_controller_that_makes_jobs(render: Render):
    def told(controller: bool) -> set[str]:
        made = render(
            {
                "secrets": SECRETS,
                "rayJobs": {"enabled": True, "node": POD},
                **({} if controller else {"controller": {"enabled": False}}),
            }
        )
        pods = {
            one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"]["spec"]
            for one in made
            if one["kind"] == "Deployment"
        }
        flag = {"name": "TIDEMILL_HAND_OVER_TURNS", "value": "true"}
        return {name for name, pod in pods.items() if flag in pod["containers"][0]["env"]}

    assert told(controller=True) == {"controller", "dashboard"}
    assert told(controller=False) == set(), "nobody would make them"


def test_the_cluster_that_jobs_share_is_the_charts_own_and_says_how_far_it_grows(
    render: Render, tmp_path: Path
):
    shared = {"enabled": True, "workers": [{**WORKER, "minReplicas": 0, "maxReplicas": 3}, GPU_WORKER]}
    made = render({"secrets": SECRETS, "rayJobs": {"enabled": True, "cluster": shared}})
    [cluster] = [one for one in made if one["kind"] == "RayCluster"]
    cpu, gpu = cluster["spec"]["workerGroupSpecs"]
    assert [(one["replicas"], one["minReplicas"], one["maxReplicas"]) for one in (cpu, gpu)] == [
        (2, 0, 3),
        (0, 0, 4),
    ]
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    [grows] = [one["value"] for one in head["env"] if one["name"] == "TIDEMILL_RAY_GROWS_TO"]
    assert grows == "CPU=19,GPU=4", "3 × 500m, rounded up as KubeRay does, and 4 × 4"
    assert Settings(ray_grows_to=grows).ray_grows_to == grows
    [content] = [one["data"]["ray-job.yaml"] for one in made if one["metadata"]["name"].endswith("-ray-job")]
    (tmp_path / "ray-job.yaml").write_text(content)
    spec = checked(read_template(tmp_path / "ray-job.yaml"), shared=True, turns="cluster")
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_without_a_cluster_to_share_it_is_said(template: Manifest):
    with pytest.raises(ConfigError, match=r"there is no RayCluster"):
        shared_cluster(template, KubernetesConfig(turns="cluster"))


def test_monitors_are_the_controllers_or_a_jobs(render: Render):
    for enabled in (False, True):
        made = render({"secrets": SECRETS, "monitors": {"enabled": enabled}})
        jobs = [one for one in made if one["metadata"]["name"].endswith("-monitors")]
        [controller] = [
            one for one in made if one["kind"] == "Deployment" and "controller" in one["metadata"]["name"]
        ]
        names = [one["name"] for one in controller["spec"]["template"]["spec"]["containers"][0]["env"]]
        assert (len(jobs), "TIDEMILL_MONITORS_ELSEWHERE" in names) == (enabled, enabled)
