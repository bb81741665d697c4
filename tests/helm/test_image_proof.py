"""The Containerfile's steps in a clean Debian, and each entry point of the chart in the image that they make.

Minutes, root and debootstrap: ``make image-proof`` sets IMAGE_PROOF to the folder where the image is made.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import free_port
from tests.helm.conftest import ROOT, Manifest, Render
from tests.helm.containerfile import Image, add_steps, build
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
VOLUMES = ["/project", "/tmp"]
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


def container(manifests: list[Manifest], kind: str, name: str, of: str = "containers") -> dict[str, Any]:
    [found] = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    spec = found["spec"].get("jobTemplate", found)["spec"]
    return spec["template"]["spec"][of][0]


class Node:
    """Starts containers of manifests in the image: their words, their environment, their volumes."""

    def __init__(
        self, image: Image, folder: Path, secrets: dict[tuple[str, str], str], words: dict[str, str]
    ):
        self._image, self._folder, self._secrets, self._words = image, folder, secrets, words

    def start(self, given: dict[str, Any], command: list[str] | None = None) -> "subprocess.Popen[str]":
        words = [self.local(word) for word in command or [*given["command"], *given.get("args", [])]]
        return start(
            self._image,
            self._folder,
            [*VOLUMES, "/artifacts", "/run/secrets/admin"],
            {one["name"]: self._value(one) for one in given["env"]},
            words,
        )

    def run(self, given: dict[str, Any], command: list[str] | None = None, seconds: float = 300) -> str:
        process = self.start(given, command)
        try:
            said, _ = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert process.returncode == 0, said
        return said

    @contextlib.contextmanager
    def running(self, given: dict[str, Any], command: list[str] | None = None) -> Iterator["Running"]:
        process = self.start(given, command)
        try:
            yield Running(process)
        finally:
            process.kill()
            process.communicate()

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return self.local(variable["value"])
        asked = variable["valueFrom"]["secretKeyRef"]
        return self._secrets[asked["name"], asked["key"]]

    def local(self, word: str) -> str:
        for name, here in self._words.items():
            word = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", here, word)
        return word


class Running:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def wait_for(
        self, url: str, wanted: str, seconds: float = 180, headers: dict[str, str] | None = None
    ) -> str:
        """Return what ``url`` answers, once it has ``wanted`` in it."""
        end = time.monotonic() + seconds
        said = ""
        while time.monotonic() < end:
            assert self._process.poll() is None, self._process.communicate()[0]
            with contextlib.suppress(httpx.TransportError):
                said = httpx.get(url, timeout=10, headers=headers).text
                if wanted in said.replace('": "', '":"'):
                    return said
            time.sleep(0.5)
        self._process.kill()
        raise AssertionError(f"{url}: {said}\n{self._process.communicate()[0][-5000:]}")

    def wait_for_line(self, wanted: str, seconds: float = 180) -> str:
        """Return all lines up to one with ``wanted``."""
        lines: list[str] = []
        end = threading.Timer(seconds, self._process.kill)
        end.start()
        try:
            for line in self._process.stdout:
                lines.append(line)
                if wanted in line:
                    return "".join(lines)
        finally:
            end.cancel()
        raise AssertionError("".join(lines))


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
    return Node(image, folder, secrets, local | ports)


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
