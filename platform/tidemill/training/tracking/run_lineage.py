"""The lineage of a model: enough to reproduce it, and to know which rows it was not trained on."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from tidemill.data.repository.uncommitted_code import IN_PATCH
from tidemill.errors import RegistryError
from tidemill.training.hashed_split import HashedSplit
from tidemill.training.splits import Period, Split

__all__ = ["PACKAGES", "PATCH", "Lineage", "installed"]

PACKAGES = (
    "catboost", "dvc", "feast", "lightgbm", "mlflow", "numpy", "optuna", "pandas", "polars", "ray",
    "scikit-learn", "scipy", "skops", "tidemill", "torch", "xgboost", "xgboost-cpu",
)  # fmt: skip
"""The packages that can change the result of a training."""

PATCH = "uncommitted.patch"
"""The run's file with the changes of the project's code that no commit holds."""

_PREFIX = "tidemill.lineage."


@dataclass(frozen=True)
class Lineage:
    """The inputs of a model's training.

    >>> from datetime import UTC
    >>> day = [datetime(2013, 3, n, tzinfo=UTC) for n in range(1, 5)]
    >>> split = Split(Period(day[0], day[1]), Period(day[1], day[2]), Period(day[2], day[3]))
    >>> lineage = Lineage("4f1d", {"data/set.parquet": "9a0e"}, "flight_delay", "77c2", split, day[3])
    >>> Lineage.from_dict(lineage.as_dict()) == lineage
    True
    """

    git_commit: str
    """Commit of the project: its code, parameters and data versions."""
    data: Mapping[str, str]
    """MD5 of each data file that DVC keeps, by path."""
    feature_service: str
    feature_definition: str
    """Hash of the feature service's definition."""
    split: Split | HashedSplit
    as_of: datetime
    """The moment of the training, in event time: it used nothing known later."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions by package."""
    uncommitted: tuple[str, ...] | None = None
    """Files of code that differed from the commit, or that it lacks; None: unknown, as in older records."""
    environment: Mapping[str, Any] | None = None
    """What it was fitted in: all ``packages``, ``lock``, ``hardware`` and ``threads``; None: unknown, as in
    older records."""
    imported: Mapping[str, Any] | None = None
    """Of a model from elsewhere: ``from``, ``sha256`` and so on; its training is not on record, and ``split``
    is that by which it was judged when it came."""
    parent: Mapping[str, Any] | None = None
    """``version`` and ``run_id`` of the version that it went on from: it was taught by the rows of that one,
    too. None: it was made anew."""
    beside: Mapping[str, str] | None = None
    """Untracked texts beside the code, by path: in the patch, too, or why not; None: there were none."""

    @property
    def has_patch(self) -> bool:
        """Whether the run has a file `PATCH`."""
        return bool(self.uncommitted) or IN_PATCH in (self.beside or {}).values()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        if isinstance(self.split, HashedSplit):
            split = self.split.as_dict()
        else:
            split = {
                name: {"start": period.start.isoformat(), "end": period.end.isoformat()}
                for name, period in vars(self.split).items()
            }
        plain = {"data": dict(self.data), "packages": dict(self.packages), "as_of": self.as_of.isoformat()}
        changed = None if self.uncommitted is None else list(self.uncommitted)
        found = {**vars(self), **plain, "split": split, "uncommitted": changed}
        for name in ("beside", "environment", "imported", "parent"):
            told = found.pop(name)
            found |= {} if told is None else {name: dict(told)}
        return found

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Lineage":
        """Read it back from plain values.

        Raises:
            RegistryError: a value is missing or wrong.
        """
        try:
            plain = {"split": _split(values["split"]), "as_of": datetime.fromisoformat(values["as_of"])}
            changed = values.get("uncommitted")
            given = {**values, **plain, "uncommitted": None if changed is None else tuple(changed)}
            return cls(**given)
        except (KeyError, TypeError, ValueError) as error:
            raise RegistryError(
                f"the lineage cannot be read: {error!r}", hint="only models trained by Tidemill carry one"
            ) from error

    def tags(self) -> dict[str, str]:
        """Return searchable tags of a run or a version; the run's JSON file has the whole lineage."""
        if isinstance(self.split, HashedSplit):
            split = {"split": str(self.split)}
        else:
            split = {
                f"{name}_{edge}": getattr(getattr(self.split, name), edge).isoformat()
                for name in ("train", "validation", "holdout")
                for edge in ("start", "end")
            }
        return {
            f"{_PREFIX}{name}": value
            for name, value in {
                "git_commit": self.git_commit,
                "feature_service": self.feature_service,
                "feature_definition": self.feature_definition,
                **split,
                "as_of": self.as_of.isoformat(),
            }.items()
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Lineage":
        """Read a lineage that an earlier version of Tidemill kept in tags alone; other tags are ignored.

        Raises:
            RegistryError: a tag of the lineage is missing or cannot be read.
        """
        found = {key.removeprefix(_PREFIX): value for key, value in tags.items() if key.startswith(_PREFIX)}
        try:
            split = {
                name: {edge: found[f"{name}_{edge}"] for edge in ("start", "end")}
                for name in ("train", "validation", "holdout")
            }
            return cls.from_dict(
                {
                    **{name: found[name] for name in ("git_commit", "feature_service", "feature_definition")},
                    **{name: json.loads(found[name]) for name in ("data", "packages")},
                    "split": split,
                    "as_of": found["as_of"],
                }
            )
        except (KeyError, ValueError) as error:
            raise RegistryError(
                f"the lineage cannot be read from the tags: {error!r}",
                hint="only models trained by Tidemill carry one",
            ) from error


def _split(values: Mapping[str, Any]) -> Split | HashedSplit:
    if "by" in values:
        return HashedSplit.from_dict(values)
    periods = {
        name: Period(*(datetime.fromisoformat(period[edge]) for edge in ("start", "end")))
        for name, period in values.items()
    }
    return Split(**periods)


def installed(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those ``packages`` that are installed.

    >>> sorted(installed(["numpy", "no-such-package"]))
    ['numpy', 'python']
    """
    found = {"python": python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
