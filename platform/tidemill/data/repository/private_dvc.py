"""Imports the undocumented names of DVC, and lists why each is needed.

DVC documents its commands and ``dvc.api``. Tidemill uses DVC's classes in its own process, which is many
times faster than running commands. No other module of Tidemill imports these names from DVC.
"""

from collections.abc import Mapping
from typing import Any

from dvc.config import Config
from dvc.config_schema import RelPath
from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.logger import set_loggers_level
from dvc.repo import Repo
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError
from dvc_data.hashfile._progress import QueryingProgress
from dvc_data.hashfile.build import IgnoreInCollectedDirError
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError
from dvc_objects.fs import registry as file_systems
from dvc_objects.fs.system import reflink

__all__ = [
    "NAMES",
    "Config",
    "DvcException",
    "HashFileDB",
    "HashInfo",
    "IgnoreInCollectedDirError",
    "LockError",
    "ObjectFormatError",
    "RelPath",
    "Repo",
    "Tree",
    "YAMLSyntaxError",
    "YAMLValidationError",
    "file_systems",
    "make_lock",
    "reflink",
    "remotes_of",
    "set_loggers_level",
    "take_braces_in_paths",
]

NAMES = (
    ("dvc.config.Config.edit", "changes `.dvc/config` without a process for each value"),
    ("dvc.config_schema.RelPath", "keeps the path of a remote folder relative in the configuration"),
    ("dvc.exceptions.DvcException", "is translated into an error of ours"),
    ("dvc.lock.LockError", "says that another process of DVC's works here: we wait for it"),
    ("dvc.lock.make_lock", "keeps DVC away while its list of dead processes is emptied"),
    ("dvc.logger.set_loggers_level", "keeps DVC's messages off our standard output"),
    ("dvc.utils.strictyaml.YAMLSyntaxError", "names a file that DVC takes for its own"),
    ("dvc.utils.strictyaml.YAMLValidationError", "names a file that DVC takes for its own"),
    ("dvc_data.hashfile.build.IgnoreInCollectedDirError", "is no DvcException, and is translated too"),
    ("dvc.repo.Repo", "opens the repository as it is, or as it was at a commit"),
    ("dvc.repo.Repo.add", "adds data without a process"),
    ("dvc.repo.Repo.checkout", "links data anew from the cache"),
    ("dvc.repo.Repo.push", "brings data to the remote"),
    ("dvc.repo.Repo.status", "tells whether a stage is out of date"),
    ("dvc.data_cloud.DataCloud.get_remote_odb", "finds the remote's files, to fetch or to erase them"),
    ("dvc.data_cloud.DataCloud.transfer", "fetches the content of a version, and no more"),
    (
        "dvc.cachemgr.CacheManager",
        "has the caches `local` and, of DVC 2, `legacy`",
    ),
    ("dvc_data.hashfile._progress.QueryingProgress", "takes the path of a cache for a pattern to format"),
    ("dvc_data.hashfile.db.HashFileDB.oid_to_path", "is where a content lies"),
    ("dvc_data.hashfile.db.HashFileDB.all", "lists all contents, for an erasure"),
    ("dvc_data.hashfile.hash_info.HashInfo", "names a content that is to be fetched"),
    ("dvc_data.hashfile.tree.Tree.load", "reads the list of a folder's files"),
    ("dvc_objects.errors.ObjectFormatError", "is raised for a broken list of files"),
    ("dvc_objects.fs.registry", "says which kinds of remotes are known, and which package one needs"),
    ("dvc_objects.fs.system.reflink", "copies a file without copying its content"),
)
"""Dotted path, and why it is needed."""


def remotes_of(repo: Repo) -> Mapping[str, Any]:
    """Return the files of each remote (`HashFileDB`) by its name."""
    return {name: repo.cloud.get_remote_odb(name) for name in repo.config["remote"]}


def take_braces_in_paths() -> None:
    """Let DVC work in folders such as ``model {v2}``: its progress formats the cache's path as a pattern."""
    progress: Any = QueryingProgress
    draw: Any = progress.__init__
    if draw.__module__ == __name__:
        return

    def draw_literally(self: Any, *arguments: Any, name: str | None = None, **options: Any) -> None:
        escaped = None if name is None else name.replace("{", "{{").replace("}", "}}")
        draw(self, *arguments, name=escaped, **options)

    progress.__init__ = draw_literally
