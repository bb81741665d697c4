"""Lists the files that belong into a backup: of registered versions, and of what was chosen beside them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.errors import UsageError
from tidemill.files.remote_files import open_address
from tidemill.project import ProjectFolder

__all__ = ["ArtifactStore", "chosen_files", "dvc_remote"]

_FOLDERS = {"log": "predictions", "runs": "origins", "reports": "reports", "data": "remote"}
"""By choice, the folder in ``.tidemill``."""
_KEYS = ("privacy.key", "keys.json")


@dataclass(frozen=True)
class ArtifactStore:
    """Where MLflow's files are: a folder, or an address such as ``s3://bucket/mlflow``."""

    address: str

    def files(self, folder: str) -> dict[str, int]:
        """Return the files below a folder, by their paths below the store, and their sizes."""
        files, root = self._opened
        below = f"{root}/{folder}".rstrip("/")
        if not files.exists(below):
            return {}
        found: dict[str, dict[str, Any]] = files.find(below, detail=True)
        return {path[len(root) + 1 :]: int(about["size"]) for path, about in found.items()}

    def open(self, path: str) -> Any:
        """Open a file to read it."""
        files, root = self._opened
        return files.open(f"{root}/{path}", "rb")

    def put(self, local: Path, path: str) -> None:
        """Copy a local file there.

        Raises:
            UsageError: there is another one already.
        """
        files, root = self._opened
        target = f"{root}/{path}"
        if files.exists(target) and int(files.info(target)["size"]) != local.stat().st_size:
            raise UsageError(
                f"{self.address} already has another file {path}", hint="restore into an empty place"
            )
        files.put_file(str(local), target)

    @property
    def _opened(self) -> tuple[Any, str]:
        address = self.address if "://" in self.address else f"file://{self.address}"
        files, root = open_address(address, "--artifacts", options={"use_listings_cache": False})
        return files, root.rstrip("/")


def chosen_files(project: ProjectFolder, choices: Collection[str]) -> Iterator[tuple[str, Path]]:
    """Yield the names of members and their files, without those that MLflow keeps of runs."""
    if "keys" in choices:
        yield from ((f"home/{name}", project.home / name) for name in _KEYS if (project.home / name).exists())
    for choice, folder in _FOLDERS.items():
        if choice in choices:
            for path in sorted((project.home / folder).rglob("*")):
                if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                    yield f"home/{path.relative_to(project.home).as_posix()}", path


def dvc_remote(project: ProjectFolder) -> Path | None:
    """Return the folder of a DVC remote that is inside ``.tidemill``, where a backup may take it."""
    remote = project.home / _FOLDERS["data"]
    return remote if remote.is_dir() else None
