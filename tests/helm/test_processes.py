"""Each container of a release as a process, with the command, environment and files of its manifest.

PostgreSQL, Redis and Ray are real, S3 is moto, and Kubernetes' API is kmock, which grants what the Role does.
Where root may mount, each process is user 10001, in a root where only volumes and /tmp can be written.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
import yaml

from tests.conftest import free_port
from tests.helm import pod_root
from tests.helm.conftest import Render
from tests.helm.node import Node, Running, container, pods
from tests.helm.release import SHARED, Release, databases, give, ray_start, starter, values
from tests.helm.test_permissions import rules
from tests.helm.values_matrix import TRIAL_PASSWORD
from tests.made_once import made_once
from tests.tidemill.kubernetes.api_server import NAMESPACE, ApiServer, serve_api
from tests.tidemill.serving.small_project import KNOWN, STORE, add_version, crown, make_project
from tidemill.data.repository.git import git
from tidemill.features.feature_store import apply, materialise
from tidemill.kubernetes.cluster_api import LEASES
from tidemill.project import Project, load_project
from tidemill.settings import Settings

pytestmark = pytest.mark.e2e

PASSWORD, TOKEN = "correct horse battery", "t" * 40
CONTROLLER = "shop-tidemill-controller"
NOT_RUN = {
    "StatefulSet/shop-tidemill-trial-postgres postgres": "another's image: PostgreSQL itself runs here",
    "StatefulSet/shop-tidemill-trial-valkey valkey": "another's image: Redis itself runs here",
    "RayJob/job/head ray-head": "the RayService's, for a job: test_cluster_turns.py runs the command of one",
    "RayJob/job/workers ray-worker": "likewise",
    "RayJob/job/head project": "the RayService's",
    "RayJob/job/workers project": "the RayService's",
}
MONITORS = {"monitors": [{"name": "often", "window": "7d", "every": "5s", "data_drift": {}}]}
PORTS = ("4300", "5000", "6379", "8265", "8000", "52365", "8080", "10001")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, redis_address: str, s3_endpoint: str) -> Path:
    """The project as it is in its image: a git repository, whose online store is Redis."""
    template = made_once(tmp_path_factory, "parcels", lambda folder: make_project(folder / "project").root)
    root = shutil.copytree(
        template, tmp_path_factory.mktemp("image") / "project", ignore=shutil.ignore_patterns(".tidemill")
    )
    (root / ".gitignore").write_text(".tidemill/\n__pycache__/\n")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["serve"]["log"] = {"store": "s3://log/parcels", "endpoint_url": s3_endpoint}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    redis = f"type: tidemill.features.online.RedisOnlineStore\n    connection_string: {redis_address},db=7"
    store = STORE.replace("type: tidemill.features.online.SqliteOnlineStore", redis)
    (root / "feature_repo" / "feature_store.yaml").write_text(
        store.replace("    path: ../.tidemill/online.db\n", "")
    )
    (root / "monitoring").mkdir()
    (root / "monitoring" / "monitors.yaml").write_text(yaml.safe_dump(MONITORS))
    git(root, "init", "--quiet")
    git(root, "add", ".")
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
    git(root, *who, "commit", "--quiet", "--message", "A project")
    return root


@pytest.fixture(scope="module")
def bucket(s3_endpoint: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, **keys)
    for name in ("models", "backups", "restored"):
        client.create_bucket(Bucket=name)
    if "log" not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="log")
    return client


@pytest.fixture(scope="module")
def release(
    render: Render, image: Path, postgres_address: str, s3_endpoint: str, bucket: Any, tmp_path_factory
) -> Release:
    """An installation whose records are made and whose project is cloned."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "admin").mkdir()
    (folder / "admin" / "password").write_text(PASSWORD)
    (folder / "admin").chmod(0o755)
    ports = {port: str(free_port()) for port in PORTS}
    names = dict.fromkeys(("0.0.0.0", "shop-tidemill-mlflow", "shop-tidemill-api"), "127.0.0.1")
    volumes = {"/project": folder / "volume", "/opt/project": image, "/run/secrets/admin": folder / "admin"}
    give(image)
    start, words = starter(folder / "node", volumes)
    secrets = SHARED | databases(postgres_address, f"release_{os.getpid()}")
    elsewhere = render({**values(s3_endpoint), "monitors": {"enabled": True}})
    monitors = [one for one in elsewhere if one["metadata"]["name"].endswith("-monitors")]
    made = Release(
        [*render(values(s3_endpoint)), *monitors],
        Node(start, secrets, words | names | ports),
        folder,
        ports,
        secrets,
    )
    said = made.node.run(made.container("Job/-records", "records"))
    assert "added the first admin: ada" in said
    assert "MLflow's database was brought to the installed MLflow" in said
    for pod in ("Deployment/-controller", "Deployment/-dashboard", "RayService/-serving/head"):
        said = made.node.run(made.container(pod, "project", "initContainers"))
        assert ("cloned" in said) == (pod == "Deployment/-controller")
    assert (folder / "volume" / "params.yaml").exists()
    return made


@pytest.fixture(scope="module")
def mlflow(release: Release) -> Iterator[Running]:
    with release.node.running(release.container("Deployment/-mlflow", "mlflow")) as server:
        server.wait_for(f"{release.url('5000')}/health", "OK")
        yield server


@pytest.fixture(scope="module")
def project(release: Release, mlflow: Running) -> Project:
    """The project on the volume, with features in Redis and a champion in MLflow, whose files are in S3."""
    settings = Settings(tracking_uri=release.url("5000"), state_url=release.secrets["records", "url"])
    project = load_project(release.folder / "volume", settings)
    apply(project)
    materialise(project, KNOWN)
    crown(project, add_version(project, 0.2))
    give(project.root)
    return project


@pytest.fixture(scope="module")
def api(render: Render, s3_endpoint: str) -> Iterator[ApiServer]:
    with serve_api() as server:
        server.rules = rules(render(values(s3_endpoint)), CONTROLLER)
        yield server


@pytest.fixture(scope="module")
def controllers(release: Release, project: Project, api: ApiServer) -> Iterator[list[Running]]:
    """Two of them: the first one leads."""
    given = release.container("Deployment/-controller", "controller")
    more = {"TIDEMILL_KUBERNETES_URL": api.url, "TIDEMILL_KUBERNETES_NAMESPACE": NAMESPACE}
    with release.node.running(given, more=more) as first:
        first.wait_for_line("leads: it took the Lease")
        with release.node.running(given, more=more) as second:
            yield [first, second]


@contextmanager
def ray(release: Release) -> Iterator[None]:
    """Ray's head and a worker, as KubeRay starts them, with what is given to Serve."""
    [service] = [one for one in release.manifests if one["kind"] == "RayService"]
    spec = service["spec"]["rayClusterConfig"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    options = {
        "metrics-export-port": 8080,
        "dashboard-agent-listen-port": 52365,
    }
    here = {"port": 6379, "dashboard-port": 8265, "ray-client-server-port": 10001}
    head = {**options, **here, **spec["headGroupSpec"]["rayStartParams"]}
    [group] = spec["workerGroupSpecs"]
    there = {"address": "127.0.0.1:6379", "num-cpus": 2, **group["rayStartParams"]}
    # Both are on one machine here.
    others = {"metrics-export-port": free_port(), "dashboard-agent-listen-port": free_port()}
    worker = {**options, **there, **others}
    apart = token | {"RAY_SERVE_WORKER_PROXY_HTTP_PORT": str(free_port())}
    heads = release.container("RayService/-serving/head", "ray-head")
    workers = release.container("RayService/-serving/cpu", "ray-worker")
    release.container(
        "RayService/-serving/cpu", "project", "initContainers"
    )  # that of the head, on one volume
    with release.node.running(heads, ray_start(head, "--head"), token) as running:
        running.wait_for(f"{release.url('8265')}/api/version", "ray_version", headers=BEARER)
        with release.node.running(workers, ray_start(worker), apart):
            config = yaml.safe_load(release.node.local(service["spec"]["serveConfigV2"]))
            applications = f"{release.url('8265')}/api/serve/applications/"
            httpx.put(applications, json=config, headers=BEARER, timeout=60).raise_for_status()
            running.wait_for(applications, '"status":"RUNNING"', headers=BEARER)
            running.wait_for(f"{release.url('8000')}/-/healthz", "success")
            yield


BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def prediction(release: Release, project: Project) -> str:
    """What `helm test` says, with a key that is made in the controller's pod, as NOTES.txt says."""
    command = [
        "tidemill",
        "keys",
        "create",
        "--name",
        "cluster",
        "--scope",
        "predict",
        "--project",
        "/project",
    ]
    given = release.container("Deployment/-controller", "controller")
    said = json.loads(release.node.run(given, [*command, "--json"]).splitlines()[-1])
    release.secrets["api-key", "key"] = said["key"]
    with ray(release):
        return release.node.run(release.container("Pod/-test", "prediction"))


@pytest.fixture(scope="module")
def backup(release: Release, prediction: str, bucket: Any) -> str:
    """Where a backup is: made by its CronJob's container."""
    release.node.run(release.container("CronJob/-backup", "backup"))
    [made] = bucket.list_objects_v2(Bucket="backups")["Contents"]
    return f"s3://backups/{made['Key']}"


def test_only_volumes_can_be_written_and_by_no_root(release: Release):
    if not pod_root.can_be_made():
        pytest.skip(
            "this machine lets nobody mount: the processes of these tests are this user's, in its root"
        )
    given = container(release.manifests, "Job", "-records")
    assert release.node.run(given, ["id", "-u"]).strip() == "10001"
    for place in ("/x", "/etc/x", f"{sys.prefix}/x"):
        assert "Read-only file system" in release.node.start(given, ["touch", place]).communicate()[0]


def test_the_dashboard_lets_the_first_admin_in(release: Release, mlflow: Running):
    dashboard = release.container("Deployment/-dashboard", "dashboard")
    with (
        release.node.running(dashboard) as server,
        httpx.Client(
            base_url=release.url("4300"), headers={"X-Forwarded-Proto": "https"}, timeout=60
        ) as client,
    ):
        server.wait_for(f"{release.url('4300')}{dashboard['readinessProbe']['httpGet']['path']}", "")
        assert client.get("/").headers["location"] == "/login?next=%2F"
        csrf = re.search(r'name="csrf" value="(\w+)"', client.get("/login").text)[1]
        answer = client.post("/login", data={"name": "ada", "password": PASSWORD, "csrf": csrf})
    assert answer.status_code == 303, "the first admin logs in"
    assert "__Host-tidemill=" in answer.headers["set-cookie"], "the proxy is believed that TLS was used"


def test_monitors_that_are_due_are_evaluated_by_their_job(release: Release, project: Project):
    said = release.node.run(release.container("CronJob/-monitors", "monitors"))
    assert "monitor often: too_few over 0 rows" in said


def test_the_second_controller_goes_on_where_the_first_was_killed(controllers: list[Running], api: ApiServer):
    first, second = controllers
    first.wait_for_line("monitor often: too_few")
    assert "monitor often" not in second.said
    leader = api.spec(LEASES, CONTROLLER)["holderIdentity"]
    first.kill()
    second.wait_for_line("monitor often: too_few")
    assert api.spec(LEASES, CONTROLLER)["holderIdentity"] != leader
    assert api.refused == [], "the Role grants all that they ask for"
    second.kill()


def test_a_prediction_is_read_back_from_the_log_and_then_compacted_into_the_store(
    release: Release, project: Project, prediction: str, backup: str, bucket: Any
):
    assert "version 1 answered, and the log has it: pred_" in prediction
    release.node.run(release.container("CronJob/-compaction", "compaction"))
    names = [one["Key"] for one in bucket.list_objects_v2(Bucket="log", Prefix="parcels/")["Contents"]]
    assert any(name.endswith(".parquet") for name in names)


def test_a_backup_is_restored_into_an_empty_installation(
    release: Release, backup: str, image: Path, postgres_address: str, prediction: str
):
    folder = release.folder
    start, words = starter(folder / "other", {"/project": folder / "other-volume", "/opt/project": image})
    secrets = SHARED | databases(postgres_address, f"restored_{os.getpid()}")
    node = Node(start, secrets, words | {"shop-tidemill-mlflow": "127.0.0.1"} | release.ports)
    node.run(container(release.manifests, "Deployment", "-controller", "initContainers"))
    command = ["tidemill", "restore", backup, "--project", "/project", "--artifacts", "s3://restored/mlflow"]
    node.run(container(release.manifests, "CronJob", "-backup"), command)
    with psycopg.connect(secrets["mlflow", "address"].replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT alias, version FROM registered_model_aliases").fetchall()
    assert found == [("champion", 1)]
    with psycopg.connect(secrets["records", "url"]) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("ada",)]
    log = (folder / "other-volume/.tidemill/predictions").rglob("*.ndjson")
    assert re.search(r"pred_\w+", prediction)[0] in "".join(file.read_text() for file in log)


def test_every_container_of_the_chart_is_run_or_has_a_reason(
    release: Release, render: Render, s3_endpoint: str, controllers, backup: str
):
    trial = {"trial": {"enabled": True, "password": TRIAL_PASSWORD}}
    [template] = [
        one["data"]["ray-job.yaml"] for one in release.manifests if "ray-job.yaml" in one.get("data", {})
    ]
    job = yaml.safe_load(template)
    job["metadata"]["name"] = "job"
    stores = [one for one in render(trial) if one["kind"] == "StatefulSet"]
    every = {
        f"{name} {one['name']}"
        for name, pod in pods([*release.manifests, *stores, job])
        for one in [*pod.get("initContainers", []), *pod["containers"]]
    }
    assert every == release.started | set(NOT_RUN)
