"""The Containerfile's steps in a clean Debian, and each entry point of the chart in the image that they make.

Minutes, root and debootstrap: ``make image-proof`` sets IMAGE_PROOF to the folder where the image is made.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import free_port
from tests.helm.conftest import ROOT, Manifest, Render
from tests.helm.containerfile import Image, add_steps, build
from tests.helm.node import Node, container
from tests.helm.pod_root import start
from tests.helm.values_matrix import RESOURCES, SECRETS
from tidemill.data.repository.git import git
from tidemill.kubernetes.project_image import committed, image_files

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif("IMAGE_PROOF" not in os.environ, reason="minutes, as root: make image-proof"),
]
SUITE = "bookworm"
INCLUDED = "python3,python3-venv,ca-certificates,netbase,tzdata"
"""What python:3.11-slim-bookworm has beyond a minimal Debian."""
VOLUMES = ["/project", "/tmp", "/artifacts", "/run/secrets/admin"]
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def platform() -> Image:
    """The image of the platform, made anew unless nothing of it changed."""
    work = Path(os.environ["IMAGE_PROOF"])
    work.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "Containerfile").read_text()
    files = context_files()
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update((ROOT / file).read_bytes())
    record = work / "image.json"
    if record.exists() and (known := json.loads(record.read_text()))["of"] == digest.hexdigest():
        return Image(Path(known["root"]), known["environment"], known["user"], known["folder"])
    record.unlink(missing_ok=True)
    for stage in ("context", "build", "platform"):
        shutil.rmtree(work / stage, ignore_errors=True)
    for file in files:
        (work / "context" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, work / "context" / file)
    image = build(work / "context", debian(work), text, work)
    record.write_text(json.dumps({"of": digest.hexdigest(), **image._asdict(), "root": str(image.root)}))
    return image


def context_files() -> list[str]:
    """What .dockerignore lets a builder see, as git knows it."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    return [file for file in git(ROOT, "ls-files", "--", *allowed).splitlines() if (ROOT / file).is_file()]


def debian(work: Path) -> Path:
    base = work / "base"
    if not (base / "usr/local/bin/python").is_symlink():
        shutil.rmtree(base, ignore_errors=True)
        mirror = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
        command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", SUITE, str(base), mirror]
        subprocess.run(command, check=True)
        for name in ("python", "python3"):
            (base / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
    return base


@pytest.fixture(scope="module")
def image(platform: Image, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with a project, as `tidemill image` makes it: its git history."""
    folder = tmp_path_factory.mktemp("made")
    command = [sys.executable, "-m", "tidemill.cli.main", "init", str(folder / "wine"), "--example", "wine"]
    subprocess.run(command, check=True, capture_output=True)
    committed(folder / "wine", leave_out=False)
    shutil.copytree(folder / "wine" / ".git", folder / "context" / ".git")
    shutil.rmtree(platform.root / "opt/project", ignore_errors=True)
    return add_steps(platform, folder / "context", image_files()["Containerfile"])


TOKEN = {"Authorization": f"Bearer {'t' * 40}"}
PORTS = ("4300", "5000", "6379", "8265", "8000", "52365", "8080", "10001")


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    return {port: str(free_port()) for port in PORTS}


@pytest.fixture(scope="module")
def node(image: Image, ports: dict[str, str], postgres_address: str, tmp_path_factory) -> Node:
    import psycopg

    folder = tmp_path_factory.mktemp("node")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    for name in ("records", "mlflow"):
        with psycopg.connect(f"{postgres_address}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE proof_{name}")
    (folder / "admin").mkdir()
    (folder / "admin" / "password").write_text(PASSWORD)
    secrets = {
        ("api-key", "key"): "none yet",
        ("records", "url"): f"{postgres_address}/proof_records",
        ("mlflow", "address"): f"{postgres_address}/proof_mlflow".replace(
            "postgresql:", "postgresql+psycopg:"
        ),
    }
    local = {"0.0.0.0": "127.0.0.1", "shop-tidemill-mlflow": "127.0.0.1", "shop-tidemill-api": "127.0.0.1"}
    volumes = {place: folder / place.rpartition("/")[2] for place in VOLUMES}
    return Node(lambda given, words: start(image, volumes, given, words), secrets, local | ports)


@pytest.fixture(scope="module")
def manifests(render: Render) -> list[Manifest]:
    names = {name: SECRETS[name] for name in ("recordsUrl", "trackingUrl", "firstAdmin", "apiKey")}
    serving = {"workers": [], "head": {"resources": RESOURCES}}
    return render({"secrets": names, "compaction": {"enabled": True}, "serving": serving})


def test_the_image_has_what_it_lists_and_nothing_can_be_written(node: Node, manifests: list[Manifest]):
    records = container(manifests, "Job", "-records")
    bill = json.loads(node.run(records, ["cat", "/opt/venv/sbom.json"]))
    assert {"ray", "mlflow", "dvc"} <= {one["name"] for one in bill["components"]}
    assert node.run(records, ["id", "-u"]).strip() == "10001"
    refused = node.start(records, ["touch", "/opt/project/x"])
    assert "Read-only file system" in refused.communicate()[0]
    code = "import lightgbm, xgboost, psycopg, s3fs, celery, shap, evidently, feast; print('there')"
    assert node.run(records, ["python", "-c", code]).endswith("there\n")


def test_the_chart_s_processes_come_up_one_after_the_other(
    node: Node, manifests: list[Manifest], ports: dict[str, str]
):
    from tests.tidemill.kubernetes.api_server import serve_api  # imports kmock

    assert "added the first admin: ada" in node.run(container(manifests, "Job", "-records"))
    controller = container(manifests, "Deployment", "-controller")
    clone = container(manifests, "Deployment", "-controller", "initContainers")
    assert "cloned" in node.run(clone)
    with node.running(container(manifests, "Deployment", "-mlflow")) as mlflow:
        mlflow.wait_for(f"http://127.0.0.1:{ports['5000']}/health", "OK")
        with node.running(container(manifests, "Deployment", "-dashboard")) as dashboard:
            dashboard.wait_for(f"http://127.0.0.1:{ports['4300']}/login", 'name="csrf"')
        turn = ["tidemill", "run", "--promote", "--project", "/project", "--json"]
        assert json.loads(node.run(controller, turn, seconds=900).splitlines()[-1])["version"] == "1"
        with serve_api() as api:
            controller["env"].append({"name": "TIDEMILL_KUBERNETES_URL", "value": api.url})
            with node.running(controller) as running:
                running.wait_for_line("monitor")
        compaction = container(manifests, "CronJob", "-compaction")
        assert "0" in node.run(compaction)
        _serve(node, manifests, ports)


def _serve(node: Node, manifests: list[Manifest], ports: dict[str, str]) -> None:
    """As KubeRay does: the head with a token, its probe, and Serve's configuration by the head's API."""
    [ray] = [one for one in manifests if one["kind"] == "RayService"]
    head = ray["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    head["env"] += [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "value": "t" * 40},
    ]
    command = "ray start --head --block --port=6379 --dashboard-port=8265 --dashboard-host=0.0.0.0"
    command += " --num-cpus=2 --ray-client-server-port=10001"
    command += " --dashboard-agent-listen-port=52365 --metrics-export-port=8080"
    config = yaml.safe_load(node.local(ray["spec"]["serveConfigV2"]))
    api = f"http://127.0.0.1:{ports['8265']}/api/serve/applications/"
    with node.running(head, ["/bin/bash", "-c", command]) as running:
        agent = f":{ports['52365']}/api/local_raylet_healthz"
        running.wait_for(f"http://127.0.0.1{agent}", "success")
        probe = f"wget --tries 1 -T 10 -q -O- http://localhost{agent}"
        running.wait_for(f"http://127.0.0.1:{ports['8265']}/api/version", "ray_version", headers=TOKEN)
        assert "success" in node.run(head, ["/bin/bash", "-c", probe]), "KubeRay's probe"
        httpx.put(api, json=config, headers=TOKEN, timeout=60).raise_for_status()
        running.wait_for(api, '"status":"RUNNING"', seconds=300, headers=TOKEN)
