"""Reaches Kubernetes' API as the person who installs: by the kubeconfig that kubectl and helm use."""

import base64
import binascii
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidemill.errors import ClusterError, ConfigError
from tidemill.files.declaration_files import read_declaration
from tidemill.kubernetes.cluster_api import ApiPlace, ClusterApi, Login

__all__ = ["open_access"]

_HINT = "see `kubectl config view`, or name another with --kubeconfig and --context"


def open_access(
    path: Path | None = None, context: str | None = None, environment: Mapping[str, str] = os.environ
) -> ClusterApi:
    """Open the API of a context, in the namespace that it names, else ``default``; the caller closes it.

    Args:
        path: the kubeconfig (default: the first of ``KUBECONFIG``, else ``~/.kube/config``).
        context: name of the context (default: the current one).
        environment: where ``KUBECONFIG`` is looked up.

    Raises:
        ConfigError: the file is missing, or lacks what it names.
        ClusterError: the program that it names for logging in failed.
    """
    named = environment.get("KUBECONFIG", "").partition(os.pathsep)[0]
    file = path or Path(named or Path.home() / ".kube" / "config")
    declared = read_declaration(file)
    if declared is None:
        raise ConfigError(f"there is no kubeconfig at {file}", hint=_HINT)
    content = declared.content if isinstance(declared.content, dict) else {}
    chosen = _entry(file, content, "context", context or content.get("current-context"))
    cluster = _entry(file, content, "cluster", chosen.get("cluster"))
    user = _entry(file, content, "user", chosen.get("user"))
    url = str(cluster.get("server", "")).rstrip("/")
    try:
        login = _login(url, cluster, _logged_in(user, file.parent), file.parent)
    except (OSError, ssl.SSLError, binascii.Error) as error:
        raise ConfigError(f"{file}: a certificate or a key cannot be read: {error}", hint=_HINT) from error
    return ClusterApi(ApiPlace(url, str(chosen.get("namespace") or "default"), login=login))


def _entry(file: Path, content: Mapping[str, Any], kind: str, name: Any) -> dict[str, Any]:
    for one in content.get(f"{kind}s") or []:
        if one.get("name") == name and isinstance(one.get(kind), dict):
            return dict(one[kind])
    raise ConfigError(f"{file} has no {kind} {name!r}", hint=_HINT)


def _logged_in(user: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the user with what their program for logging in says."""
    asked = user.get("exec")
    if not asked:
        return user
    info = {"apiVersion": asked.get("apiVersion"), "kind": "ExecCredential", "spec": {"interactive": False}}
    added = {one["name"]: one["value"] for one in asked.get("env") or []}
    command = [str(asked.get("command")), *(asked.get("args") or [])]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise ClusterError(
            f"{command[0]}, which the kubeconfig names for logging in, gave no credential: {error}",
            hint="log in to the cloud, and try `kubectl version`",
        ) from error
    named = {
        "token": "token",
        "clientCertificateData": "client-certificate-pem",
        "clientKeyData": "client-key-pem",
    }
    return {**user, **{ours: status[theirs] for theirs, ours in named.items() if status.get(theirs)}}


def _login(url: str, cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> Login:
    trusted: ssl.SSLContext | bool = True
    if url.startswith("https:"):
        authority = _pem(cluster, "certificate-authority", folder)
        trusted = ssl.create_default_context(cadata=authority)
        if cluster.get("insecure-skip-tls-verify"):
            trusted.check_hostname, trusted.verify_mode = False, ssl.CERT_NONE
        certificate, key = (_pem(user, f"client-{part}", folder) for part in ("certificate", "key"))
        if certificate and key:
            with tempfile.TemporaryDirectory() as private:  # the library reads files only
                both = Path(private) / "client.pem"
                both.touch(mode=0o600)
                both.write_text(f"{certificate}\n{key}")
                trusted.load_cert_chain(both)
    token = user.get("token")
    if user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text().strip()
    return Login(str(token) if token else None, trusted)


def _pem(of: Mapping[str, Any], name: str, folder: Path) -> str | None:
    if f"{name}-pem" in of:
        return str(of[f"{name}-pem"])
    if of.get(f"{name}-data"):
        return base64.b64decode(of[f"{name}-data"]).decode()
    return (folder / of[name]).read_text() if of.get(name) else None
