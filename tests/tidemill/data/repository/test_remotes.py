"""The second copy of the data on S3 and behind SSH: real servers, real protocols, on loopback."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import free_port, wait_for_port
from tests.tidemill.data.conftest import FLIGHTS, FLIGHTS_LATER, put
from tidemill.data.repository.git import git
from tidemill.data.repository.remotes import parse_remote
from tidemill.data.versioning.add import add
from tidemill.data.versioning.checkout import checkout
from tidemill.data.versioning.data_versions import current, init_workspace, list_versions
from tidemill.errors import DataError, UsageError
from tidemill.project import Project

SECRETS = {"AWS_ACCESS_KEY_ID": "tidemill-test", "AWS_SECRET_ACCESS_KEY": "not-to-be-kept"}

SFTP = """
import asyncio, sys
import asyncssh

class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True
    def public_key_auth_supported(self):
        return True
    def validate_public_key(self, username, key):
        return key.export_public_key() == open(sys.argv[3], "rb").read()

async def main():
    await asyncssh.listen("127.0.0.1", int(sys.argv[1]), server_host_keys=[sys.argv[2]],
                          server_factory=Server, sftp_factory=True,
                          process_factory=lambda process: process.exit(127))
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty bucket."""
    import boto3

    for name, value in {**SECRETS, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    name = f"data-{abs(hash(tmp_path))}"
    boto3.client("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=name)
    return name


@pytest.fixture
def ssh_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """An SFTP server that lets in who has the key in ``$HOME``."""
    import asyncssh

    keys = tmp_path / "home/.ssh"
    keys.mkdir(parents=True)
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "host_key"))
    mine = asyncssh.generate_private_key("ssh-ed25519")
    mine.write_private_key(str(keys / "id_ed25519"))
    (tmp_path / "public").write_bytes(mine.export_public_key())
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    port = free_port()
    command = [sys.executable, "-c", SFTP, str(port), str(tmp_path / "host_key"), str(tmp_path / "public")]
    process = subprocess.Popen(command)
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def round_trip(tiny: Project, tmp_path: Path) -> None:
    """Add two versions, lose the cache, and bring the first one back from the remote."""
    put(tiny.root / "data/flights.parquet", FLIGHTS)
    add(tiny, "data/flights.parquet")
    put(tiny.root / "data/parts/a.parquet", FLIGHTS)
    put(tiny.root / "data/parts/b.parquet", FLIGHTS_LATER)
    add(tiny, "data/parts")
    put(tiny.root / "data/flights.parquet", FLIGHTS_LATER)
    add(tiny, "data/flights.parquet")
    shutil.rmtree(tiny.root / ".dvc/cache")
    steps: set[str] = set()
    checkout(tiny, "HEAD~1", [], tmp_path / "out", lambda step, *_: steps.add(step))
    assert "fetching" in steps
    assert pl.read_parquet(tmp_path / "out/data/flights.parquet", memory_map=False).equals(FLIGHTS)
    assert pl.read_parquet(tmp_path / "out/data/parts/b.parquet", memory_map=False).equals(FLIGHTS_LATER)


@pytest.mark.engine
def test_data_is_kept_on_s3_and_no_secret_in_git(
    tiny: Project, s3_endpoint: str, bucket: str, tmp_path: Path
):
    init_workspace(tiny.root, f"s3://{bucket}/flights", s3_endpoint)
    round_trip(tiny, tmp_path)
    config = git(tiny.root, "show", "HEAD:.dvc/config")
    assert f"url = s3://{bucket}/flights" in config
    assert f"endpointurl = {s3_endpoint}" in config
    for secret in SECRETS.values():
        assert git(tiny.root, "log", "--all", "-S", secret, "--format=%H") == ""


@pytest.mark.engine
def test_s3_that_is_gone_is_told_and_made_up_for(
    tiny: Project, s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    init_workspace(tiny.root, f"s3://{bucket}/flights", f"http://127.0.0.1:{free_port()}")
    put(tiny.root / "data/flights.parquet", FLIGHTS)
    with pytest.raises(
        DataError, match=r"version \w{8} is committed, but not copied to the remote: .*onnect"
    ):
        add(tiny, "data/flights.parquet")
    assert [*current(tiny).outputs] == ["data/flights.parquet"]
    shutil.move(tiny.root / ".dvc/cache", tmp_path / "cache")
    with pytest.raises(DataError, match=r"is not in DVC's cache and cannot be fetched: .*onnect"):
        checkout(tiny, "HEAD", [], tmp_path / "out")
    shutil.move(tmp_path / "cache", tiny.root / ".dvc/cache")
    init_workspace(tiny.root, f"s3://{bucket}/flights", s3_endpoint)  # it is back, under another address
    assert not add(tiny, "data/flights.parquet").changed
    shutil.rmtree(tiny.root / ".dvc/cache")
    checkout(tiny, "HEAD", [], tmp_path / "out")
    assert [one.message for one in list_versions(tiny)] == ["Add data/flights.parquet"]


@pytest.mark.engine
def test_data_is_kept_behind_ssh(tiny: Project, ssh_port: int, tmp_path: Path):
    far = tmp_path / "far"
    far.mkdir()
    init_workspace(tiny.root, f"ssh://me@127.0.0.1:{ssh_port}{far}/store")
    round_trip(tiny, tmp_path)
    assert any(path.is_file() for path in (far / "store").rglob("*"))
    assert f"url = ssh://me@127.0.0.1:{ssh_port}{far}/store" in git(tiny.root, "show", "HEAD:.dvc/config")


@pytest.mark.parametrize(
    ("address", "endpoint", "words"),
    [
        ("ssh://me:secret@host/data", None, "carries a password"),
        ("s3://bucket", "http://key:secret@minio:9000", "carries a password"),
        ("ssh://host/data", "http://minio:9000", "has no endpoint"),
        ("s4://bucket/data", None, "DVC does not support this kind of remote"),
        ("s3:///data", None, "names no bucket"),
    ],
)
def test_what_cannot_be_a_remote_is_told(address: str, endpoint: str | None, words: str):
    with pytest.raises(UsageError, match=words):
        parse_remote(address, endpoint)


def test_a_package_that_is_missing_is_named():
    with pytest.raises(DataError, match="requires 'dvc-oss'") as caught:
        parse_remote("oss://bucket/data")
    assert caught.value.hint == "pip install 'dvc[oss]'"


@pytest.mark.engine
def test_data_is_kept_in_a_folder_of_any_name(tiny: Project, tmp_path: Path):
    far = tmp_path / "what?now a%2Fb model [v2] x#y"
    init_workspace(tiny.root, far)
    round_trip(tiny, tmp_path)
    assert (far / "files" / "md5").is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "remote", far.name, "out"}
