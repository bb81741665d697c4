"""Decide which version answers a request: the champion, or a version with a share of the keys.

The share of a version is a range of a hash of the routing key and the deployment's own salt:

- the same key gets the same version, on every replica, for as long as the share does not shrink over it;
- a share that grows only moves keys towards the version, none away from it;
- deployments have salts of their own, so that the keys of one say nothing about the keys of another.

Versions are tried in a fixed order (the canary first, then experiments by name); the champion answers all
other keys.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from tidemill.serving.routing.loaded_version import LoadedModel

__all__ = [
    "CHAMPION",
    "NAMED",
    "DeployedVersion",
    "DesiredState",
    "Kind",
    "Router",
    "ServingVersions",
    "bucket",
    "entity_key",
    "router",
]

CHAMPION = "champion"
"""The role of the version that answers the keys outside all shares."""
NAMED = "named"
"""The role of a version that the request asked for by name."""
_BUCKETS = 2**64

Kind = Literal["canary", "ab", "shadow", "challenger"]
Router = Callable[[Any, Mapping[str, object]], str]
"""From an instance and the row its features are looked up by to its routing key."""


@dataclass(frozen=True, order=True)
class DeployedVersion:
    """A version beside the champion, as it was asked for.

    >>> DeployedVersion("ab", "late-fee", "7", 0.5, "s1").role
    'ab:late-fee'
    """

    kind: Kind
    name: str
    """Of the experiment; for the other kinds the same as ``kind``."""
    version: str
    share: float
    """Of the routing keys, 0 to 1."""
    salt: str
    """Makes its choice of keys independent of the other deployments'."""

    @property
    def role(self) -> str:
        """The role in the records of its answers: ``canary``, ``ab:<name>`` or ``shadow``."""
        return f"ab:{self.name}" if self.kind == "ab" else self.kind

    @property
    def served(self) -> bool:
        """Whether replicas load it: a challenger is compared on the log alone."""
        return self.kind != "challenger"


@dataclass(frozen=True)
class DesiredState:
    """The versions that a replica should answer with."""

    champion: str | None
    lanes: tuple[DeployedVersion, ...] = ()


def bucket(salt: str, key: str) -> int:
    """Return where ``key`` falls, 0 to 2**64 - 1: uniform, and independent for different salts.

    >>> bucket("s1", "UA") == bucket("s1", "UA"), bucket("s1", "UA") == bucket("s2", "UA")
    (True, False)
    """
    return int.from_bytes(blake2b(key.encode(), digest_size=8, key=salt.encode()[:64]).digest(), "big")


def entity_key(row: Mapping[str, object], columns: Sequence[str] | None = None) -> str:
    """Return the routing key of a row: its entity keys as JSON, without moments, in a fixed order.

    Args:
        row: what the features are looked up by.
        columns: those that are entity keys; default: all that are no moments. A row without any of them is
            routed by all that it has, so that not all such rows go to one version.

    >>> entity_key({"origin": "EWR", "carrier": "UA", "weight": 2.5}, ["carrier", "origin"])
    '{"carrier":"UA","origin":"EWR"}'
    """
    names = row if columns is None or all(row.get(name) is None for name in columns) else columns
    kept = {name: row.get(name) for name in names if not isinstance(row.get(name), datetime)}
    return orjson.dumps(kept, str, orjson.OPT_SORT_KEYS).decode()


def router(declared: Callable[[Any], str] | None, columns: Sequence[str] | None = None) -> Router:
    """Return how an instance gets its routing key: as the application declares, else by its entity keys.

    >>> router(None, ["depot"])(None, {"depot": "north", "weight": 1.0})
    '{"depot":"north"}'
    """
    if declared is not None:
        return lambda instance, _row: str(declared(instance))
    return lambda _instance, row: entity_key(row, columns)


@dataclass(frozen=True)
class ServingVersions:
    """The versions that answer at one moment. A request takes it once, so that no swap divides a request."""

    champion: "LoadedModel"
    lanes: tuple[tuple[DeployedVersion, "LoadedModel"], ...] = ()
    """Those that are loaded, in the order of `DeployedVersion`; shadows among them."""
    key: Router = field(default_factory=lambda: router(None), repr=False, compare=False)
    """Gives the routing key of an instance with its feature row."""
    _ranges: tuple[tuple[int, str, "LoadedModel", str], ...] = field(init=False, repr=False, compare=False)
    _shadows: tuple[tuple[DeployedVersion, "LoadedModel"], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        answering = sorted(
            (pair for pair in self.lanes if pair[0].kind in ("canary", "ab")),
            key=lambda pair: (pair[0].kind != "canary", pair[0].name),
        )
        ranges = ((round(lane.share * _BUCKETS), lane.salt, model, lane.role) for lane, model in answering)
        object.__setattr__(self, "_ranges", tuple(ranges))
        shadows = tuple(pair for pair in self.lanes if pair[0].kind == "shadow")
        object.__setattr__(self, "_shadows", shadows)

    @property
    def loaded(self) -> "list[tuple[str, LoadedModel]]":
        """The role and the model of every version that is loaded."""
        return [(CHAMPION, self.champion), *((lane.role, model) for lane, model in self.lanes)]

    @property
    def splits(self) -> bool:
        """Whether anyone but the champion may answer; if not, `assign` need not be asked."""
        return bool(self._ranges)

    @property
    def shadows(self) -> "tuple[LoadedModel, ...]":
        """The versions that get a copy of the traffic."""
        return tuple(model for _, model in self._shadows)

    def assign(self, key: str) -> "tuple[LoadedModel, str]":
        """Return the version that answers a routing key, and its role."""
        for end, salt, model, role in self._ranges:
            if bucket(salt, key) < end:
                return model, role
        return self.champion, CHAMPION

    def named(self, version: str) -> "tuple[LoadedModel, str] | None":
        """Return a version that answers now, by its name; None if it is not one of them.

        Its role is `NAMED`, whichever it is: keys that were not drawn are not compared with those that were.
        """
        models = (self.champion, *(model for _, _, model, _ in self._ranges))
        return next(((model, NAMED) for model in models if model.version == version), None)

    def shadowed(self, key: str) -> "tuple[LoadedModel, ...]":
        """Return the versions that get a copy of what this key asks."""
        return tuple(
            model for lane, model in self._shadows if bucket(lane.salt, key) < round(lane.share * _BUCKETS)
        )
