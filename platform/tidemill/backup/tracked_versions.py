"""Reads from MLflow's database which versions are registered, and which folders have their files."""

from urllib.parse import unquote, urlparse

from tidemill.backup.backup_facts import VersionFiles
from tidemill.state.database_snapshots import Snapshot

__all__ = ["below_artifacts", "registered_versions", "run_folders"]

_OWN = "/.tidemill/artifacts"
_VERSIONS = """
SELECT name, version, coalesce(nullif(storage_location, ''), source, '') FROM model_versions
WHERE current_stage <> 'Deleted_Internal' ORDER BY name, version
"""
_RUNS = """
SELECT artifact_uri FROM runs WHERE run_uuid IN (
  SELECT run_id FROM model_versions
  UNION SELECT value FROM tags
  WHERE key = 'mlflow.parentRunId' AND run_uuid IN (SELECT run_id FROM model_versions))
"""


def registered_versions(tracking: Snapshot, artifacts: str) -> list[VersionFiles]:
    """Return the registered versions, in order.

    Args:
        tracking: MLflow's database.
        artifacts: the address below which their files are.
    """
    return [
        VersionFiles(str(name), str(version), below_artifacts(str(address), artifacts))
        for name, version, address in tracking.rows(_VERSIONS)
    ]


def run_folders(tracking: Snapshot, artifacts: str) -> list[str]:
    """Return the folders with files of the runs that made registered versions."""
    found = (below_artifacts(str(address), artifacts) for (address,) in tracking.rows(_RUNS))
    return sorted({folder for folder in found if folder})


def below_artifacts(address: str, artifacts: str) -> str | None:
    """Return the part of an address that is below the artifacts; None if it is elsewhere.

    >>> below_artifacts("file:///old/.tidemill/artifacts/models/m-1/artifacts", "/new/.tidemill/artifacts")
    'models/m-1/artifacts'
    >>> below_artifacts("mlflow-artifacts:/0/abc/artifacts", "s3://models/mlflow")
    '0/abc/artifacts'
    >>> below_artifacts("s3://models/mlflow/0/abc", "s3://models/mlflow"), below_artifacts("s3://a/b", "s3://a/c")
    ('0/abc', None)
    """
    parts = urlparse(address)
    if parts.scheme == "mlflow-artifacts":
        return parts.path.strip("/") or None
    if parts.scheme in ("", "file"):
        path = unquote(parts.path)
        if path.startswith(artifacts.rstrip("/") + "/"):
            return path.removeprefix(artifacts.rstrip("/")).strip("/")
        return path.partition(f"{_OWN}/")[2].strip("/") or None  # of a project that was moved
    below = address.removeprefix(artifacts.rstrip("/") + "/")
    return None if below == address else below.strip("/")
