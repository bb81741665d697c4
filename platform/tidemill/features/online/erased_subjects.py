"""Keep erased subjects out of the online store, even where a source still has rows of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast import FeatureView
from feast.repo_config import RepoConfig

from tidemill.data.personal.tombstones import FILE, keep_expression, read_tombstones
from tidemill.project import load_project

__all__ = ["concerns_erased", "without_erased_rows"]


def concerns_erased(config: RepoConfig, view: FeatureView) -> bool:
    """Return whether any subject with a tombstone could be a key of ``view``.

    Raises:
        ConfigError: as `without_erased_rows`.
    """
    return _keep(config, [column.name for column in view.entity_columns]) is not None


def without_erased_rows(
    config: RepoConfig, table: pa.Table, renamed: Mapping[str, str] | None = None
) -> pa.Table:
    """Return ``table`` without the rows of subjects that have a tombstone in the project around a repository.

    Outside a project, or in a project without tombstones, the table is returned unchanged.

    Args:
        config: the repository's.
        table: rows with join keys.
        renamed: column of the table → the join key that it holds, where the source maps it to another name.

    Raises:
        ConfigError: ``tombstones.yaml`` cannot be read, or was written under another privacy key.
    """
    names = [(renamed or {}).get(name, name) for name in table.column_names]
    keep = _keep(config, names)
    if keep is None:
        return table
    keys = pl.from_arrow(table.rename_columns(names))
    assert isinstance(keys, pl.DataFrame)
    return table.filter(keys.select(keep.alias("keep"))["keep"].to_arrow())


def _keep(config: RepoConfig, columns: Sequence[str]) -> pl.Expr | None:
    repo = Path(config.repo_path or ".").resolve()
    root = next((folder for folder in (repo, *repo.parents) if (folder / FILE).is_file()), None)
    if root is None or not (root / "params.yaml").is_file():
        return None
    if not any(set(stone.columns) <= set(columns) for stone in read_tombstones(root)):
        return None  # before the project is loaded, which takes longer than a push
    return keep_expression(columns, load_project(root))
