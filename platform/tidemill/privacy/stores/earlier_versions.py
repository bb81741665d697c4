"""Finds earlier data versions that contain one subject, and purges them from DVC's cache and remotes.

DVC stores each content under its MD5, in its cache and its remotes; git's commits name them in ``dvc.lock``
and ``.dvc`` files. This module never changes a commit: a version whose content was purged stays in the
history with its lineage, but cannot be restored.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tidemill.data.repository.git import commits, git, git_try
from tidemill.data.repository.private_dvc import DvcException, Repo, remotes_of
from tidemill.data.repository.repository_setup import open_dvc
from tidemill.errors import DataError
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml
from tidemill.privacy.stores.table_subjects import count_rows, format_of, mentions
from tidemill.privacy.subject import Subject

__all__ = ["EarlierVersion", "StoredContents", "earlier_versions", "open_contents", "purge"]

_FOLDER = ".dir"


@dataclass(frozen=True)
class EarlierVersion:
    """A commit whose data contains the subject, or may contain it."""

    revision: str
    time: datetime
    message: str
    files: tuple[str, ...]
    """Paths that contain the subject."""
    unknown: tuple[str, ...]
    """Paths whose content is missing or unreadable: they may contain the subject."""


@dataclass
class StoredContents:
    """The contents in DVC's cache and remotes of one repository; each is searched once."""

    repo: Repo
    subjects: Sequence[Subject]
    """The subject, once for each set of column names that files use for its key."""
    _known: dict[str, bool | None] = field(default_factory=dict)

    def hold(self, md5: str, path: str) -> bool | None:
        """Return whether a content contains the subject; None if it is missing or unreadable.

        Args:
            md5: the MD5 under which DVC stores it, in its cache or a remote.
            path: path of the file, whose extension gives the format.
        """
        if md5 not in self._known:
            self._known[md5] = self._look(md5, path)
        return self._known[md5]

    def files_in(self, md5: str, path: str) -> list[tuple[str, str]]:
        """Return MD5 and path of an output's contents: one for a file, one for each file in a folder."""
        if not md5.endswith(_FOLDER):
            return [(md5, path)]
        with self.local_copy(md5) as copy:
            if copy is None:
                return []
            return [(item["md5"], f"{path}/{item['relpath']}") for item in json.loads(copy.read_text())]

    def holding(self) -> list[str]:
        """Return the contents that contain the subject, of those searched so far."""
        return sorted(md5 for md5, holds in self._known.items() if holds)

    def look_into_the_rest(self) -> None:
        """Search the cached contents that no commit names, such as those a failed run left."""
        for md5 in list(self.repo.cache.local.all()):
            if not md5.endswith(_FOLDER):
                self.hold(md5, "")

    def _look(self, md5: str, path: str) -> bool | None:
        if md5.endswith(_FOLDER):
            files = self.files_in(md5, path)
            verdicts = [self.hold(each, name) for each, name in files]
            return True if True in verdicts else None if None in verdicts or not files else False
        with self.local_copy(md5) as copy:
            if copy is None:
                return None
            try:
                kind = format_of(Path(path)) or format_of(copy)
                if kind is not None:
                    return any(count_rows(copy, subject, kind=kind) for subject in self.subjects)
                subject = self.subjects[0]
                return min(map(len, subject.values.values())) >= 3 and mentions(copy, subject)
            except DataError:
                return None

    @contextmanager
    def local_copy(self, md5: str) -> Iterator[Path | None]:
        """Yield the path of a content in the cache, else of a copy from a remote; None if it is missing."""
        cached = Path(self.repo.cache.local.oid_to_path(md5))
        if cached.is_file():
            yield cached
            return
        with tempfile.TemporaryDirectory(prefix="tidemill-erase-") as folder:
            copy = Path(folder, "content")
            for odb in remotes_of(self.repo).values():
                if odb.exists(md5):
                    odb.fs.get_file(odb.oid_to_path(md5), str(copy))
                    yield copy
                    return
            yield None


@contextmanager
def open_contents(root: Path, subjects: Sequence[Subject]) -> Iterator[StoredContents | None]:
    """Open DVC's contents; give None if the project is not a git and DVC repository.

    Raises:
        DataError: DVC, or a remote, failed inside the block.
    """
    if not ((root / ".git").exists() and (root / ".dvc").exists()):
        yield None
        return
    try:
        with open_dvc(root) as repo:
            yield StoredContents(repo, subjects)
    except (DvcException, OSError) as error:
        raise DataError(
            f"{root}: the earlier data versions cannot be looked through: {error}",
            hint="check the remote (`dvc remote list`), then try again",
        ) from error


def earlier_versions(root: Path, contents: StoredContents) -> list[EarlierVersion]:
    """Return the commits of all branches whose data contains or may contain the subject, the newest first.

    Raises:
        DataError: git failed.
    """
    blobs: dict[str, dict[str, str]] = {}
    found = []
    for revision, time, message in commits(root, "--all", "--", "dvc.lock", ":(glob)**/*.dvc"):
        outputs = _outputs_at(root, revision, blobs)
        files = {
            name: contents.hold(md5, name)
            for path, content in outputs.items()
            for md5, name in (contents.files_in(content, path) or [(content, path)])
        }
        holding = tuple(sorted(name for name, holds in files.items() if holds))
        unknown = tuple(sorted(name for name, holds in files.items() if holds is None))
        if holding or unknown:
            found.append(EarlierVersion(revision, time, message, holding, unknown))
    return found


def purge(contents: StoredContents) -> int:
    """Delete every content that contains the subject from the cache and all remotes; return how many.

    The caller must make sure that the current version does not contain the subject.

    Raises:
        DataError: a remote refused (`open_contents` raises it).
    """
    doomed = contents.holding()
    for odb in (contents.repo.cache.local, *remotes_of(contents.repo).values()):
        for md5 in doomed:
            if odb.exists(md5):
                odb.delete(md5)
    return len(doomed)


def _outputs_at(root: Path, revision: str, blobs: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return path → MD5 of everything that DVC tracks at a commit; each git blob is parsed once."""
    outputs: dict[str, str] = {}
    for line in git(root, "ls-tree", "-r", "-z", revision).split("\0"):
        meta, _, path = line.partition("\t")
        if not (path == "dvc.lock" or path.endswith(".dvc")):
            continue
        blob = meta.split()[2]
        if blob not in blobs:
            blobs[blob] = _parse(git_try(root, "cat-file", "blob", blob).stdout)
        base = Path(path).parent
        outputs |= {str(base / name): md5 for name, md5 in blobs[blob].items()}
    return outputs


def _parse(text: str) -> dict[str, str]:
    try:
        content = parse_dvc_yaml(text) or {}
        parts = [content, *(content.get("stages") or {}).values()]
        return {
            item["path"]: item["md5"] for part in parts for item in part.get("outs") or () if item.get("md5")
        }
    except (YamlError, AttributeError, TypeError, KeyError):
        return {}
