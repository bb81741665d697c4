"""Containers' commands as processes, with the environment and files that their manifests give."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port, wait_for_port
from tests.helm.conftest import ROOT, Manifest, Render
from tests.helm.values_matrix import SECRETS
from tidemill.data.repository.git import git

pytestmark = pytest.mark.e2e

PASSWORD = "correct horse battery"


def pod_spec(manifests: list[Manifest], kind: str, name: str) -> dict[str, Any]:
    [found] = [one for one in manifests if one["kind"] == kind and one["metadata"]["name"].endswith(name)]
    return found["spec"]["template"]["spec"]


class Cluster:
    """What a node does for a container: its secrets, its volumes, its command."""

    def __init__(self, folder: Path, secrets: dict[tuple[str, str], str], paths: dict[str, str]) -> None:
        self._folder, self._secrets, self._paths = folder, secrets, paths

    def start(self, container: dict[str, Any]) -> "subprocess.Popen[str]":
        words = [self._local(word) for word in container["command"] + container.get("args", [])]
        words[0] = {"python": sys.executable}.get(words[0], str(Path(sys.executable).with_name(words[0])))
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return subprocess.Popen(
            words,
            env=kept | {one["name"]: self._value(one) for one in container["env"]},
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, container: dict[str, Any]) -> str:
        process = self.start(container)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return self._local(variable["value"])
        asked = variable["valueFrom"]["secretKeyRef"]
        return self._secrets[asked["name"], asked["key"]]

    def _local(self, word: str) -> str:
        ours = next((one for one in self._paths if word == one or word.startswith(f"{one}/")), None)
        return word if ours is None else self._paths[ours] + word.removeprefix(ours)


def test_records_project_and_dashboard_come_up_in_the_order_of_an_installation(
    render: Render, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "somebody")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "somebody@localhost")
    image = shutil.copytree(ROOT / "examples" / "wine", tmp_path / "image")
    git(image, "init", "--quiet")
    git(image, "add", ".")
    git(image, "commit", "--quiet", "--message", "A project")
    for name in ("volume", "tmp", "admin"):
        (tmp_path / name).mkdir()
    (tmp_path / "admin" / "password").write_text(PASSWORD)
    port = free_port()
    names = {
        "recordsUrl": SECRETS["recordsUrl"],
        "trackingUrl": SECRETS["trackingUrl"],
        "firstAdmin": SECRETS["firstAdmin"],
    }
    made = render({"secrets": names, "dashboard": {"trustedProxies": ["127.0.0.0/8"]}})
    cluster = Cluster(
        tmp_path,
        {("records", "url"): postgres_url, ("mlflow", "address"): f"sqlite:///{tmp_path / 'mlflow.db'}"},
        {
            "/project": str(tmp_path / "volume"), "/opt/project": str(image), "/tmp": str(tmp_path / "tmp"),
            "/run/secrets/admin": str(tmp_path / "admin"), "4300": str(port), "0.0.0.0": "127.0.0.1",
        },
    )  # fmt: skip

    [job] = pod_spec(made, "Job", "-records")["containers"]
    said = cluster.run(job)
    assert "added the first admin: ada" in said
    assert "MLflow's database was brought to the installed MLflow" in said
    pod = pod_spec(made, "Deployment", "-dashboard")
    [project], [dashboard] = pod["initContainers"], pod["containers"]
    assert "cloned" in cluster.run(project)
    assert (tmp_path / "volume" / "params.yaml").exists()
    server = cluster.start(dashboard)
    try:
        wait_for_port(port, server, 60)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"X-Forwarded-Proto": "https"}
        ) as client:
            assert client.get(dashboard["readinessProbe"]["httpGet"]["path"]).status_code == 200
            assert client.get("/").headers["location"] == "/login?next=%2F"
            csrf = re.search(r'name="csrf" value="(\w+)"', client.get("/login").text)[1]
            answer = client.post("/login", data={"name": "ada", "password": PASSWORD, "csrf": csrf})
        assert answer.status_code == 303, "the first admin logs in"
        assert "__Host-tidemill=" in answer.headers["set-cookie"], "the proxy is believed that TLS was used"
    finally:
        server.terminate()
        server.communicate(timeout=30)
