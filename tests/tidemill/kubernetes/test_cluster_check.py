"""The check before an installation, against an API server that answers by HTTP, and its kubeconfig."""

import base64
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.errors import ClusterError, ConfigError
from tidemill.kubernetes.cluster_check import Finding, check_cluster
from tidemill.kubernetes.kubeconfig import open_access

LONG_AGO = datetime(2013, 1, 1, tzinfo=UTC)
MANIFESTS = [
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "project"},
     "spec": {"accessModes": ["ReadWriteMany"]}},
    {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "serving"}, "spec": {
        "env": [{"name": "URL", "valueFrom": {"secretKeyRef": {"name": "records", "key": "url"}}}]}},
]  # fmt: skip
RECORDS = base64.b64encode(b"postgresql://me:secret@db.example.com/x").decode()
DEFAULT = {"storageclass.kubernetes.io/is-default-class": "true"}


def resources(*names: tuple[str, str]) -> dict[str, Any]:
    return {"resources": [{"kind": kind, "name": name} for kind, name in names]}


class ApiServer:
    """Answers GET by path, and every question for permissions by verb and resource."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        """``delete rayservices``: what the user may not."""
        self.forbidden: set[str] = set()
        """Paths that answer 403."""
        self.seen: set[str | None] = set()
        self.paths: dict[str, Any] = {
            "/version": {"major": "1", "minor": "34+", "gitVersion": "v1.34.2"},
            "/api/v1": resources(("PersistentVolumeClaim", "persistentvolumeclaims"), ("Secret", "secrets")),
            "/apis/ray.io/v1": resources(("RayService", "rayservices"), ("RayService", "rayservices/status")),
            "/api/v1/namespaces/models": {},
            "/apis/storage.k8s.io/v1/storageclasses": {
                "items": [{"metadata": {"name": "nfs", "annotations": DEFAULT}, "provisioner": "nfs.csi"}]
            },
            "/api/v1/namespaces/models/secrets/records": {"data": {"url": RECORDS}},
        }

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        if path in self.forbidden:
            return 403, {"message": "no"}
        if body is not None:
            wanted = body["spec"]["resourceAttributes"]
            asked = f"{wanted['verb']} {wanted['resource']}"
            return 201, {"status": {"allowed": asked not in self.refused}}
        return (200, self.paths[path]) if path in self.paths else (404, {"message": "not found"})


def listen(api: ApiServer, secured: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self, body: Any = None) -> None:
            api.seen.add(self.headers.get("Authorization"))
            status, content = api.answer(self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            self.do_GET(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if secured:
        server.socket = secured.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def url(api: ApiServer) -> Iterator[str]:
    server = listen(api)
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def kubeconfig(folder: Path, url: str, user: dict[str, Any], cluster: dict[str, Any] | None = None) -> Path:
    file = folder / "config"
    content = {
        "current-context": "staging",
        "contexts": [
            {"name": "staging", "context": {"cluster": "c", "user": "u", "namespace": "models"}},
            {"name": "broken", "context": {"cluster": "gone", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
def check(url: str, tmp_path: Path) -> Callable[..., dict[str, Finding]]:
    def found(
        now: datetime | None = None, connect: Callable[[str, int], str | None] = lambda host, port: None
    ) -> dict[str, Finding]:
        with closing(open_access(kubeconfig(tmp_path, url, {"token": "t"}))) as opened:
            said = list(check_cluster(opened, MANIFESTS, "models", lambda: now or datetime.now(UTC), connect))
        assert len({one.check for one in said}) == len(said)
        return {one.check: one for one in said}

    return found


def test_all_is_there(check: Callable[..., dict[str, Finding]], api: ApiServer):
    asked = []
    found = check(connect=lambda host, port: asked.append((host, port)))
    assert {one.verdict for one in found.values()} == {"ok"}
    assert set(found) == {
        "API", "version", "clock", "kinds", "namespace", "permissions", "storage of project",
        "Secret records", "store db.example.com:5432",
    }  # fmt: skip
    assert asked == [("db.example.com", 5432)]
    assert api.seen == {"Bearer t"}
    assert "secret@" not in json.dumps(found)


def test_what_is_missing_is_said_with_what_to_do(check: Callable[..., dict[str, Finding]], api: ApiServer):
    api.paths["/version"]["minor"] = "31"
    api.paths["/apis/storage.k8s.io/v1/storageclasses"]["items"][0]["provisioner"] = "ebs.csi.aws.com"
    api.paths["/api/v1/namespaces/models/secrets/records"] = {"data": {"other": RECORDS}}
    api.refused = {"delete persistentvolumeclaims", "create secrets"}
    for path in ("/apis/ray.io/v1", "/api/v1/namespaces/models"):
        del api.paths[path]
    found = check(LONG_AGO)
    assert {name for name, one in found.items() if one.verdict == "ok"} == {"API"}
    assert "KubeRay" in found["kinds"].to_do
    assert found["clock"].said.endswith("ahead of this machine's")
    assert found["permissions"].said == "you may not delete persistentvolumeclaims, create secrets"
    assert "several nodes" in found["storage of project"].said
    assert found["Secret records"].said == "it has no url"
    assert all(one.to_do for one in found.values() if one.verdict == "missing")


def test_what_is_kept_from_us_is_unknown_and_not_missing(
    check: Callable[..., dict[str, Finding]], api: ApiServer
):
    api.forbidden = {
        "/api/v1/namespaces/models", "/api/v1/namespaces/models/secrets/records",
        "/apis/storage.k8s.io/v1/storageclasses", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    }  # fmt: skip
    verdicts = [one.verdict for one in check().values()]
    assert (verdicts.count("unknown"), verdicts.count("missing")) == (4, 0)


def test_a_store_that_does_not_answer_and_one_of_the_cluster(
    check: Callable[..., dict[str, Finding]], api: ApiServer
):
    inner = base64.b64encode(b"postgresql://db.models.svc/x").decode()
    assert check(connect=lambda *to: "refused")["store db.example.com:5432"].verdict == "missing"
    api.paths["/api/v1/namespaces/models/secrets/records"] = {"data": {"url": inner}}
    assert check(connect=lambda *to: "refused")["store db.models.svc:5432"].verdict == "unknown"


def test_each_namespace_of_a_release_is_looked_at_and_each_way_to_a_store(
    url: str, api: ApiServer, tmp_path: Path
):
    """Two projects: one has no Secret, and its policy lets nobody reach the port of the other's records."""
    pooled = base64.b64encode(b"postgresql://db.example.com:6432/x").decode()
    rule = {"ports": [{"port": 5432, "protocol": "TCP"}]}
    policy = {"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "metadata": {"name": "stores"}}
    policy["spec"] = {"podSelector": {}, "policyTypes": ["Egress"], "egress": [rule]}
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}
    pod["spec"] = {"imagePullSecrets": [{"name": "registry"}], "env": MANIFESTS[1]["spec"]["env"]}
    made = [
        {**one, "metadata": {**one["metadata"], "namespace": where}}
        for where in ("flights", "prices")
        for one in (pod, policy)
    ]
    for where in ("flights", "prices"):
        api.paths[f"/api/v1/namespaces/{where}"] = {}
    api.paths["/api/v1/namespaces/flights/secrets/records"] = {"data": {"url": pooled}}
    api.paths["/api/v1/namespaces/flights/secrets/registry"] = {"data": {}}
    with closing(open_access(kubeconfig(tmp_path, url, {"token": "t"}))) as opened:
        said = list(check_cluster(opened, made, "models", lambda: datetime.now(UTC), lambda *to: None))
    found = {one.check: one for one in said}
    assert {name: found[name].verdict for name in found if "Secret" in name} == {
        "flights: Secret records": "ok",
        "flights: Secret registry": "ok",
        "prices: Secret records": "missing",
        "prices: Secret registry": "missing",
    }
    assert "-n prices" in found["prices: Secret records"].to_do
    assert "add {ports: [{port: 6432, protocol: TCP}]}" in found["way to db.example.com:6432"].to_do


def test_a_clock_that_is_a_little_off_is_told(check: Callable[..., dict[str, Finding]]):
    assert check(datetime.now(UTC) + timedelta(seconds=30))["clock"].said.endswith("behind this machine's")


def test_the_command_exits_with_1_while_something_is_missing(url: str, api: ApiServer, tmp_path: Path):
    helm = tmp_path / "helm"
    helm.write_text(f"#!/bin/sh\ncat <<'END'\n{yaml.safe_dump_all(MANIFESTS)}\nEND\n")
    helm.chmod(0o755)
    api.paths["/api/v1/namespaces/models/secrets/records"] = {}
    config = kubeconfig(tmp_path, url, {"token": "t"})
    command = [sys.executable, "-m", "tidemill.cli.main", "cluster", "check", "--values", "x", "--helm", helm]
    done = subprocess.run([*command, "--kubeconfig", config], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "✗ Secret records: it has no url\n  kubectl -n models create secret" in done.stdout
    assert "✓ version: v1.34.2" in done.stdout


def test_another_server_or_none_ends_the_check_at_once(
    check: Callable[..., dict[str, Finding]], api: ApiServer, tmp_path: Path
):
    api.paths["/version"] = {"name": "a web page"}
    assert [(one.check, one.verdict) for one in check().values()] == [("API", "missing")]
    with closing(open_access(kubeconfig(tmp_path, "http://127.0.0.1:1", {}))) as away:
        [only] = check_cluster(away, MANIFESTS, "models", lambda: LONG_AGO)
    assert "does not answer" in only.said


def test_a_program_of_the_kubeconfig_logs_in(url: str, api: ApiServer, tmp_path: Path):
    login = tmp_path / "login"
    login.write_text(
        "#!/bin/sh\ncase $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 1;; esac\n"
        'echo "{\\"status\\": {\\"token\\": \\"$1-$REGION\\"}}"\n'
    )
    login.chmod(0o755)
    asked = {"command": str(login), "args": ["of"], "env": [{"name": "REGION", "value": "eu"}]}
    with closing(open_access(kubeconfig(tmp_path, url, {"exec": asked}))) as opened:
        opened.look("/version")
    assert api.seen == {"Bearer of-eu"}
    login.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ClusterError, match="gave no credential"):
        open_access(tmp_path / "config")


def test_a_kubeconfig_that_lacks_something_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="there is no kubeconfig"):
        open_access(None, environment={"KUBECONFIG": f"{tmp_path}/none:other"})
    file = kubeconfig(tmp_path, "http://127.0.0.1:1", {})
    for context, said in {"prod": "no context 'prod'", "broken": "no cluster 'gone'"}.items():
        with pytest.raises(ConfigError, match=said):
            open_access(file, context)
    with pytest.raises(ConfigError, match="cannot be read"):
        open_access(
            kubeconfig(tmp_path, "https://127.0.0.1:1", {}, {"certificate-authority": "gone.pem"}), None
        )


def test_client_certificates_log_in_and_another_authority_is_not_trusted(api: ApiServer, tmp_path: Path):
    ours, others = (self_signed(tmp_path / name) for name in ("ours", "others"))
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ours))
    secured.load_cert_chain(ours)
    secured.verify_mode = ssl.CERT_REQUIRED
    server = listen(api, secured)
    url = f"https://127.0.0.1:{server.server_port}"
    text = base64.b64encode(ours.read_bytes()).decode()
    user = {"client-certificate-data": text, "client-key": str(ours)}
    try:
        known = kubeconfig(tmp_path, url, user, {"certificate-authority-data": text})
        with closing(open_access(known)) as opened:
            assert opened.look("/version").content is not None
        strange = kubeconfig(tmp_path, url, user, {"certificate-authority": str(others)})
        with closing(open_access(strange)) as opened:
            [only] = check_cluster(opened, MANIFESTS, "models", lambda: LONG_AGO)
        assert "CERTIFICATE_VERIFY_FAILED" in only.said
    finally:
        server.shutdown()
        server.server_close()


def self_signed(file: Path) -> Path:
    """Certificate and key of 127.0.0.1 in one file; its own authority."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, file.name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(certificate.public_bytes(pem) + private)
    return file
