"""An installation of the chart whose containers run as processes: values, stores, Secrets, what was run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg

from tests.helm import pod_root
from tests.helm.conftest import Manifest
from tests.helm.node import Node, container, pods
from tests.helm.values_matrix import BACKUP, RESOURCES, SECRETS, WORKER

__all__ = ["SHARED", "Release", "databases", "give", "ray_start", "starter", "values"]


class Release:
    """An installation: its manifests, the node that runs them, and what was run."""

    def __init__(
        self,
        manifests: list[Manifest],
        node: Node,
        folder: Path,
        ports: Mapping[str, str],
        secrets: dict[tuple[str, str], str],
    ) -> None:
        self.manifests, self.node, self.folder = manifests, node, folder
        self.ports, self.secrets = ports, secrets
        self.started: set[str] = set()

    def container(self, place: str, name: str, of: str = "containers") -> dict[str, Any]:
        """Return a container, which counts as run from now on."""
        kind, _, suffix = place.partition("/")
        found = container(self.manifests, kind, suffix, of)
        assert found["name"] == name
        [whole] = [one for one, _ in pods(self.manifests) if re.fullmatch(f"{kind}/.*{suffix}", one)]
        self.started.add(f"{whole} {name}")
        return found

    def url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"


def values(s3: str) -> dict[str, Any]:
    return {
        "secrets": {name: SECRETS[name] for name in SECRETS if name not in ("brokerUrl", "privacyKey")},
        "objectStore": {"endpoint": s3},
        "mlflow": {"artifacts": "s3://models/mlflow"},
        "compaction": {"enabled": True},
        "backup": {**BACKUP, "artifacts": "s3://models/mlflow"},
        "controller": {"leaseSeconds": 10, "intervalSeconds": 1},
        "rayJobs": {"enabled": True},
        "dashboard": {"trustedProxies": ["127.0.0.0/8"]},
        "serving": {"workers": [{**WORKER, "replicas": 1}], "head": {"resources": RESOURCES}},
        "test": {"instance": json.dumps({"depot": "north"})},
    }


def starter(folder: Path, volumes: Mapping[str, Path]) -> tuple[Any, dict[str, str]]:
    """Return what starts processes, and the words that are others for them."""
    folder.mkdir()
    if not pod_root.can_be_made():

        def plain(environment: Mapping[str, str], command: Sequence[str]) -> "subprocess.Popen[str]":
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            return subprocess.Popen(
                command, env={"PATH": path, "LANG": "C.UTF-8", **environment}, cwd=folder,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip

        for place in volumes.values():
            place.mkdir(exist_ok=True)
        (folder / "tmp").mkdir()
        return plain, {"/tmp": str(folder / "tmp"), **{name: str(place) for name, place in volumes.items()}}
    (folder / "root").mkdir()
    image, places = pod_root.image_of_this_machine(folder / "root", ["/tmp", *volumes])
    count = iter(range(1000))

    def apart(environment: Mapping[str, str], command: Sequence[str]) -> "subprocess.Popen[str]":
        of_pod = {**volumes, "/tmp": folder / f"tmp-{next(count)}"}
        return pod_root.start(image, of_pod, environment, command, places)

    return apart, {}


def databases(address: str, name: str) -> dict[tuple[str, str], str]:
    """Make two empty databases; return the Secrets that lead to them."""
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        for part in ("records", "mlflow"):
            connection.execute(f"CREATE DATABASE {name}_{part}")
    return {
        ("records", "url"): f"{address}/{name}_records",
        ("mlflow", "address"): f"{address}/{name}_mlflow".replace("postgresql:", "postgresql+psycopg:"),
    }


SHARED = {
    ("s3", "AWS_ACCESS_KEY_ID"): "test", ("s3", "AWS_SECRET_ACCESS_KEY"): "test",
    ("backups", "passphrase"): "a long passphrase", ("api-key", "key"): "none yet",
}  # fmt: skip


def give(folder: Path) -> None:
    """Let the user of containers have what is there."""
    if pod_root.can_be_made():
        subprocess.run(["chown", "-R", "10001:10001", str(folder)], check=True)


def ray_start(options: Mapping[str, Any], *more: str) -> list[str]:
    words = [f"--{name}={value}" for name, value in options.items()]
    return ["/bin/bash", "-c", " ".join(["ray start --block", *more, *words])]
