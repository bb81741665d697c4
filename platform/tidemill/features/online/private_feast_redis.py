"""The private names of Feast's Redis store that Tidemill uses, and why."""

from typing import Any

from feast.infra.online_stores.helpers import _mmh3, _redis_key_prefix
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from feast.repo_config import RepoConfig

__all__ = [
    "NAMES",
    "ClientRedisStore",
    "RedisOnlineStore",
    "RedisOnlineStoreConfig",
    "RedisType",
    "field_name",
    "key_prefix",
    "redis_client",
]

NAMES = (
    ("feast.infra.online_stores.helpers._mmh3", "is the name of a feature's field in the hash of a key"),
    ("feast.infra.online_stores.helpers._redis_key_prefix", "is how the keys of an entity begin"),
    (
        "feast.infra.online_stores.redis.RedisOnlineStore._client",
        "is the connection; none at first",
    ),
    ("feast.infra.online_stores.redis.RedisOnlineStore._get_client", "connects; we set its patience"),
    ("feast.infra.online_stores.redis.RedisType", "tells a cluster, to which writes go Feast's own way"),
)
"""Dotted path, and why it is needed."""


class ClientRedisStore(RedisOnlineStore):  # type: ignore[misc]
    """Feast's Redis store, with a public method for a connection that was made."""

    def prepare_client(self, client: Any) -> None:
        """Configure a new client before its first use."""

    def _get_client(self, online_store_config: RedisOnlineStoreConfig) -> Any:
        known = self._client
        client = super()._get_client(online_store_config)
        if known is None:
            self.prepare_client(client)
        return client


def redis_client(store: RedisOnlineStore, config: RepoConfig) -> Any:
    """Return the client (`redis.Redis` or its like) of a Redis store, Feast's own or Tidemill's."""
    return store._get_client(config.online_store)


def field_name(text: str) -> bytes:
    """Return the name of the field that ``view:feature`` is kept in."""
    name: bytes = _mmh3(text)
    return name


def key_prefix(columns: list[str]) -> bytes:
    """Return how the keys of an entity with these key columns begin."""
    prefix: bytes = _redis_key_prefix(columns)
    return prefix
