"""Lists where a project stores rows: outputs of its pipeline, data added to DVC, feature sources, others."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tidemill.data.repository.git import git_try
from tidemill.errors import DataError, FeatureError
from tidemill.features.feast_objects import DataSource, FeatureView, FileSource
from tidemill.features.feast_session import feast_errors, has_repository, open_store, repository
from tidemill.features.feature_definitions import load_definitions
from tidemill.features.offline.addresses import Address, locate
from tidemill.features.offline.parquet_sources import partition_of
from tidemill.files.yaml_reading import YamlError, parse_dvc_yaml, yaml_problem
from tidemill.privacy.stores.leftover_drafts import delete_draft, leftover_drafts
from tidemill.privacy.stores.table_subjects import (
    SUFFIXES,
    count_rows,
    files_below,
    format_of,
    mentions,
    remove_rows,
)
from tidemill.privacy.stores.untracked_files import list_untracked
from tidemill.privacy.subject import Subject
from tidemill.project import Project

__all__ = ["RowPlace", "count_in", "find_places", "pipeline_paths", "remove_from_place", "subject_by_place"]


@dataclass(frozen=True)
class RowPlace:
    """One file or folder of rows."""

    name: str
    """Path relative to the project if it is inside; else its absolute path or address."""
    kind: str
    """``output`` (of the pipeline), ``added`` (to DVC), ``file`` (read by it or its features), ``remote``,
    ``upstream`` (read by it or its features from outside the project, and never changed), ``loose`` (in the
    project's folder, but not declared), ``draft`` (left behind by a killed writer)."""
    what: str
    """Its role in the project, such as ``source aircraft_profile_source``."""
    path: Path | None
    """None for a remote place."""
    address: Address | None = None
    """Set only for a feature source."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field of the feature store → its column there, where the source maps it to another name."""


def find_places(project: Project) -> list[RowPlace]:
    """Return every known place where the project stores rows, each once, outputs of the pipeline first.

    Raises:
        DataError: ``dvc.lock`` or a ``.dvc`` file cannot be read.
        FeatureError: the feature definitions cannot be imported.
    """
    root = project.root.resolve()
    outputs, inputs = pipeline_paths(root)
    found: dict[Path, RowPlace] = {}
    mapped: list[RowPlace] = []

    def add(path: Path, kind: str, what: str, source: FileSource | None = None) -> None:
        path = path.resolve()
        around = [place for known, place in found.items() if path == known or path.is_relative_to(known)]
        columns = _columns(source)
        if not around:
            found[path] = RowPlace(_name(root, path), kind, what, path, columns=columns)
        elif columns:  # the same rows, under other names
            mapped.append(RowPlace(_name(root, path), around[0].kind, what, path, columns=columns))

    for output in outputs:
        add(root / output, "output", "output of the pipeline")
    for pointer, path in _added(root):
        add(path, "added", f"added to DVC ({_name(root, pointer)})")

    def add_read(path: Path, what: str, source: FileSource | None = None, written: bool = False) -> None:
        inside = path.resolve().is_relative_to(root)
        add(path, "file" if inside or written else "upstream", what, source)

    remote = []
    for source, what, written in _sources(project):
        address = locate(source, repository(project))
        if not address.is_local:
            remote.append(RowPlace(address.text, "remote", what, None, address, _columns(source)))
        elif address.is_pattern:
            for file in address.list_files():
                add_read(Path(file.path), what, source, written)
        else:
            add_read(Path(address.path), what, source, written)
    for name in inputs:
        if Path(name).suffix.lower() in SUFFIXES or (root / name).is_dir():
            add_read(root / name, "read by the pipeline")
    if project.dataset_path.exists():
        add(project.dataset_path, "file", "the training set")
    drafts = leftover_drafts(root, found)
    loose = [
        RowPlace(_name(root, path), "loose", "declared nowhere", path)
        for path in list_untracked(project)
        if found.keys().isdisjoint((path, *path.parents)) and drafts.isdisjoint((path, *path.parents))
    ]
    left = [RowPlace(_name(root, path), "draft", "left behind by a killed writer", path) for path in drafts]
    return [*found.values(), *mapped, *remote, *loose, *sorted(left, key=lambda place: place.name)]


def subject_by_place(subject: Subject, places: Iterable[RowPlace]) -> tuple[Subject, ...]:
    """Return the subject under the column names of each place whose source maps its key's columns."""
    renamed = {tuple(sorted(place.columns.items())): place.columns for place in places if place.columns}
    ours = [columns for columns in renamed.values() if not subject.values.keys().isdisjoint(columns)]
    return (subject, *(subject.renamed(columns) for columns in ours))


def count_in(place: RowPlace, subject: Subject) -> int:
    """Return how many rows of the subject are at a place; a file of an unknown format counts as one row
    if its bytes name the subject, and a draft always, as it can end in the middle of a row.

    Raises:
        DataError: a file cannot be read.
        FeatureError: a remote source cannot be reached.
    """  # noqa: D205
    subject = subject.renamed(place.columns)
    if place.path is None:
        return sum(count_rows(copy, subject, constants) for copy, _, constants in _copies(place))
    if place.kind == "draft":
        return int(os.path.lexists(place.path))
    if place.kind == "loose":
        return _count_loose(place.path, subject)
    return sum(
        count_rows(file, subject, constants) if format_of(file) else int(_names(file, subject))
        for file, constants in files_below(place.path)
    )


def remove_from_place(place: RowPlace, subject: Subject) -> int:
    """Rewrite the files of a place without the subject's rows, or delete a draft; return how many rows went.

    Raises:
        DataError: a file cannot be read or written, or names the subject in an unsupported format.
        FeatureError: a remote source cannot be reached or written.
    """
    subject = subject.renamed(place.columns)
    if place.path is None:
        return _leave_out_remotely(place, subject)
    if place.kind == "draft":
        return int(delete_draft(place.path))
    if place.kind == "loose" and not _count_loose(place.path, subject):
        return 0
    removed = 0
    for file, constants in files_below(place.path):
        if format_of(file) is None:
            if _names(file, subject):
                raise DataError(
                    f"{file} names the subject, but its format cannot be rewritten",
                    hint="remove it there by hand, then `tidemill data erase --resume`",
                )
        elif subject.values.items() <= constants.items():  # the name of the folder is the subject's value
            removed += count_rows(file, subject, constants)
            file.unlink()
            for folder in file.parents:
                if folder == place.path or any(folder.iterdir()):
                    break
                folder.rmdir()
        else:
            removed += remove_rows(file, subject, constants)
    return removed


def pipeline_paths(root: Path) -> tuple[list[str], list[str]]:
    """Return the outputs of the pipeline's stages, and their other inputs, relative to ``root``.

    Raises:
        DataError: ``dvc.lock`` cannot be read.
    """
    stages = (_yaml(root / "dvc.lock").get("stages") or {}).values()
    outputs = [item["path"] for stage in stages for item in stage.get("outs") or ()]
    inputs = [item["path"] for stage in stages for item in stage.get("deps") or ()]
    return list(dict.fromkeys(outputs)), [name for name in dict.fromkeys(inputs) if name not in outputs]


def _added(root: Path) -> list[tuple[Path, Path]]:
    """Return the ``.dvc`` files, each with the path that it tracks."""
    listed = git_try(
        root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":(glob)**/*.dvc"
    )
    pointers = [root / name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    return [
        (pointer, pointer.parent / item["path"])
        for pointer in pointers
        if pointer.is_file()
        for item in _yaml(pointer).get("outs") or ()
    ]


def _sources(project: Project) -> Iterator[tuple[FileSource, str, bool]]:
    """Yield the sources of features, each with its role, and whether Tidemill writes rows there."""
    if not has_repository(project):
        return
    views = [thing for thing in load_definitions(repository(project)) if isinstance(thing, FeatureView)]
    for view in views:
        for source in _with_batch((view.batch_source, view.stream_source)):
            yield source, f"source of view {view.name}", view.stream_source is not None
    store = open_store(project)
    with feast_errors("reading the registry"):
        for dataset in store.list_saved_datasets():
            for source in _with_batch((dataset.storage.to_data_source(),)):
                yield source, f"saved data set {dataset.name}", True
        for service in store.list_feature_services():
            logging = service.logging_config
            if logging is not None:
                for source in _with_batch((logging.destination.to_data_source(),)):
                    yield source, f"logged features of service {service.name}", True


def _columns(source: FileSource | None) -> dict[str, str]:
    return {new: old for old, new in (source.field_mapping or {}).items()} if source else {}


def _with_batch(sources: Iterable[DataSource | None]) -> Iterator[FileSource]:
    for source in sources:
        batch = getattr(source, "batch_source", None) or source
        if isinstance(batch, FileSource):
            yield batch


def _copies(place: RowPlace) -> Iterator[tuple[Path, str, Mapping[str, str]]]:
    """Yield a local copy of each file of a remote place, its path, and the columns from its folder names."""
    assert place.address is not None
    with tempfile.TemporaryDirectory(prefix="tidemill-erase-") as folder:
        for number, file in enumerate(place.address.list_files()):
            copy = Path(folder, f"{number}{Path(file.path).suffix}")
            with _TranslatedErrors(place):
                place.address.files.get_file(file.path, str(copy))
            folders = partition_of(file.path, place.address.root)
            yield copy, file.path, {name: value for name, value in folders.items() if value is not None}
            copy.unlink()


def _leave_out_remotely(place: RowPlace, subject: Subject) -> int:
    assert place.address is not None
    removed, files = 0, place.address.files
    for copy, path, constants in _copies(place):
        if subject.values.items() <= constants.items():
            removed += count_rows(copy, subject, constants)
            with _TranslatedErrors(place):
                files.rm_file(path)
        elif found := remove_rows(copy, subject, constants):
            removed += found
            with _TranslatedErrors(place):
                files.put_file(str(copy), path)  # object stores replace an object in one step
    return removed


class _TranslatedErrors:
    def __init__(self, place: RowPlace) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, FeatureError):
            raise FeatureError(
                f"{self._place.what}: {self._place.name} cannot be reached: {error}",
                hint="check address and credentials, then `tidemill data erase --resume`",
            ) from error


def _count_loose(file: Path, subject: Subject) -> int:
    """Count as `count_in` does, without failing on a file whose format differs from its extension."""
    try:
        if format_of(file):
            return count_rows(file, subject)
    except DataError:
        pass  # it is searched as text instead
    return int(_names(file, replace(subject, pseudonyms=subject.values)))  # it may hold its pseudonym


def _names(file: Path, subject: Subject) -> bool:
    return min(map(len, subject.values.values())) >= 3 and mentions(file, subject)


def _name(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = parse_dvc_yaml(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, YamlError) as error:
        said = yaml_problem(error) if isinstance(error, YamlError) else error.strerror
        raise DataError(f"{path} cannot be read: {said}", hint="restore it from git") from error
    return content if isinstance(content, dict) else {}
