"""A Feast online store in Redis: Feast's own layout, written by the column, read in one round trip.

Any Feast project switches over in its ``feature_store.yaml``; what Feast's own store wrote stays readable,
and the other way round::

    online_store:
        type: tidemill.features.online.RedisOnlineStore
        connection_string: localhost:6379
"""

import itertools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
from feast import FeatureView
from feast.repo_config import RepoConfig
from google.protobuf.timestamp_pb2 import Timestamp
from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from tidemill.errors import FeatureError
from tidemill.features.encoding import check_type, microseconds, timestamp_messages, value_messages
from tidemill.features.lookups import Found, Read
from tidemill.features.online import private_feast_redis
from tidemill.features.online.online_rows import OnlineRows, key_columns, kinds_of
from tidemill.features.online.private_feast_redis import (
    ClientRedisStore,
    RedisType,
    field_name,
    key_prefix,
    redis_client,
)
from tidemill.features.online.redis_script import SCRIPT
from tidemill.features.private_feast import (
    EntityKey,
    Value,
    compute_versioned_name,
    deserialize_entity_key,
    feast_value_type_to_python_type,
    serialize_entity_key,
)

__all__ = ["RedisOnlineStore", "RedisOnlineStoreConfig", "redis_reader"]

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

_SCRIPT_ROWS = 500  # a script holds up other clients, by about 2 ms
_CALLS = 4  # calls in a pipeline
_SCAN = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DOUBLE_TAG, _DOUBLE = 0x29, struct.Struct("<d")  # how a Value that is a double begins


class RedisOnlineStoreConfig(private_feast_redis.RedisOnlineStoreConfig):  # type: ignore[misc]
    """The section ``online_store`` of ``feature_store.yaml``: that of Feast's ``redis``."""

    type: Literal["tidemill.features.online.RedisOnlineStore"] = "tidemill.features.online.RedisOnlineStore"


class RedisOnlineStore(ClientRedisStore):
    """Feast's Redis store, in which of two rows of one key that with the later event time stays.

    Redis itself compares, in a script, so that writers may race. Of rows with equal event times that which is
    written last stays. On a Redis cluster writes go Feast's own way.
    """

    _patience: float | None = None

    def limit_waiting(self, seconds: float) -> None:
        """Limit the time of a read in seconds, so that a prediction is answered or refused soon."""
        self._patience = seconds

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[Row],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows as Feast gives them.

        Raises:
            FeatureError: a value is not of the declared type, or Redis refuses.
        """
        if not data:
            return
        if self._is_cluster(config):
            super().online_write_batch(config, table, data, progress)
            return
        kinds = kinds_of(table)
        names = list(dict.fromkeys(name for _, values, _, _ in data for name in values))
        columns: dict[str, pa.Array] = {}
        for name in names:
            messages = [values.get(name, Value()) for _, values, _, _ in data]
            for message in messages:
                check_type(table.name, name, kinds.get(name), message)
            columns[name] = pa.array([message.SerializeToString() for message in messages], pa.binary())
        version = config.entity_key_serialization_version
        keys = pa.array([serialize_entity_key(key, version) for key, *_ in data], pa.binary())
        events = pa.array([microseconds(at) for _, _, at, _ in data], pa.int64())
        created = pa.array([c and microseconds(c) for _, _, _, c in data], pa.int64())
        self._write(config, table, OnlineRows(keys, events, created, columns), progress or _ignore)

    def write_rows(
        self, config: RepoConfig, view: FeatureView, rows: OnlineRows, progress: Callable[[int], Any]
    ) -> None:
        """Write rows by the column: what `tidemill.features.online.materialise` calls.

        Raises:
            FeatureError: Redis refuses or is down; rows written until then stay.
        """
        kinds = kinds_of(view)
        for part in rows.slices(100 * _SCRIPT_ROWS):
            messages = {name: value_messages(column, kinds[name]) for name, column in part.values.items()}
            encoded = OnlineRows(part.keys, part.events, part.created, messages)
            if self._is_cluster(config):
                super().online_write_batch(config, view, list(_as_feast(encoded)), progress)
            else:
                self._write(config, view, encoded, progress)

    def reader(self, config: RepoConfig, wanted: Sequence[tuple[FeatureView, Sequence[str]]]) -> Read:
        """Return a function that reads the same features of several views repeatedly: see `redis_reader`."""
        return redis_reader(self, config, wanted)

    def event_times(
        self, config: RepoConfig, view: FeatureView, after: int | None
    ) -> tuple[int, int | None, int]:
        """Return how many keys there are, the latest event time, and how many are not before ``after``.

        It visits all keys of the view's entities, 100,000 in about a second.

        Raises:
            FeatureError: Redis is down.
        """
        field = f"_ts:{_name(config, view)}"
        count, newest, fresh = 0, None, 0
        try:
            for keys in self._keys(config, view):
                with redis_client(self, config).pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.hget(key, field)
                    moments = [_moment(raw) for raw in pipe.execute() if raw is not None]
                count += len(moments)
                newest = max([*moments, *([] if newest is None else [newest])], default=None)
                fresh += len(moments) if after is None else sum(moment >= after for moment in moments)
        except RedisError as error:
            raise FeatureError(f"Redis does not answer: {error}") from error
        return count, newest, fresh

    def prepare_client(self, client: Any) -> None:
        """Limit how long the client tries, so that a prediction learns soon that Redis is down."""
        if not isinstance(client, Redis):
            return
        if self._patience is None:
            client.set_retry(Retry(ExponentialBackoff(cap=0.2, base=0.02), 3))
        else:
            # Retry once when a connection was closed in the meantime, but not when it is slow.
            client.set_retry(Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)))
            waits = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), self._patience)
            client.connection_pool.connection_kwargs.update(waits)

    def _is_cluster(self, config: RepoConfig) -> bool:
        return bool(config.online_store.redis_type == RedisType.redis_cluster)

    def _keys(self, config: RepoConfig, view: FeatureView) -> Iterator[list[bytes]]:
        """Yield the keys of the view's entities; Redis may give one twice while it grows."""
        keys = [column.name for column in key_columns(view)]
        prefix, suffix = key_prefix(keys), config.project.encode()
        found = redis_client(self, config).scan_iter(_escaped(prefix) + b"*" + _escaped(suffix), count=_SCAN)
        while part := list(itertools.islice(found, _SCAN)):
            ends = (_end(key, len(prefix), len(keys)) for key in part)
            yield [key for key, end in zip(part, ends, strict=True) if end == len(key) - len(suffix)]

    def _write(
        self, config: RepoConfig, view: FeatureView, rows: OnlineRows, progress: Callable[[int], Any]
    ) -> None:
        """Write rows whose values are messages, some hundred in each call of the script."""
        name, settings = _name(config, view), config.online_store
        fields = [field_name(f"{name}:{feature}") for feature in rows.values]
        fixed = [f"_ts:{name}", settings.key_ttl_seconds or 0, len(fields), *fields]
        try:
            client = redis_client(self, config)
            digest = client.script_load(SCRIPT)
            for part in rows.slices(_CALLS * _SCRIPT_ROWS):
                with client.pipeline(transaction=False) as pipe:
                    for call in part.slices(_SCRIPT_ROWS):
                        keys = [key + config.project.encode() for key in call.keys.to_pylist()]
                        pipe.evalsha(digest, len(keys), *keys, *fixed, *_stamped(call))
                    for count in pipe.execute():
                        progress(count)
        except (RedisError, OSError) as error:
            raise FeatureError(
                f"writing view {view.name!r} to Redis failed: {error}",
                hint="run it again; the rows written so far are complete",
            ) from error


def redis_reader(
    store: private_feast_redis.RedisOnlineStore,
    config: RepoConfig,
    wanted: Sequence[tuple[FeatureView, Sequence[str]]],
) -> Read:
    """Return a function that reads the same features of several views, in one round trip a call.

    Args:
        store: Feast's own or Tidemill's.
        config: the repository's.
        wanted: views, and which of their features.
    """
    suffix, fields = config.project.encode(), []
    for view, names in wanted:
        name = _name(config, view)
        fields.append([f"_ts:{name}".encode(), *(field_name(f"{name}:{feature}") for feature in names)])

    def read(keys: Sequence[Sequence[bytes]]) -> Sequence[Found]:
        try:
            with redis_client(store, config).pipeline(transaction=False) as pipe:
                for of_view, asked in zip(keys, fields, strict=True):
                    for key in of_view:
                        pipe.execute_command("HMGET", key + suffix, *asked)
                answers = iter(pipe.execute())
        except RedisError as error:
            raise FeatureError(f"Redis does not answer: {error}") from error
        return [_found(of_view, answers) for of_view in keys]

    return read


def _found(keys: Sequence[bytes], answers: Iterator[Sequence[bytes | None]]) -> Found:
    found: dict[bytes, Sequence[Any]] = {}
    for key in keys:
        moment, *values = next(answers)
        if moment is not None:
            found[key] = (_moment(moment), *map(_value, values))
    return found


def _stamped(rows: OnlineRows) -> Iterator[bytes]:
    """Yield the timestamp and the values of each row, one row after the other."""
    stamps = timestamp_messages(rows.events.to_numpy(zero_copy_only=False))
    columns = [column.to_pylist() for column in (stamps, *rows.values.values())]
    return itertools.chain.from_iterable(zip(*columns, strict=True))


def _as_feast(rows: OnlineRows) -> Iterator[Row]:
    """Convert rows whose values are messages to the form that Feast's own stores take."""
    names, columns = list(rows.values), [column.to_pylist() for column in rows.values.values()]
    for key, event, *messages in zip(rows.keys.to_pylist(), rows.events.to_pylist(), *columns, strict=True):
        values = {name: Value.FromString(raw) for name, raw in zip(names, messages, strict=True)}
        yield deserialize_entity_key(key), values, _EPOCH + timedelta(microseconds=event), None


def _name(config: RepoConfig, view: FeatureView) -> str:
    name: str = compute_versioned_name(view, config.registry.enable_online_feature_view_versioning)
    return name


def _moment(raw: bytes) -> int:
    stamp = Timestamp.FromString(raw)
    return int(stamp.seconds) * 1_000_000 + int(stamp.nanos) // 1000


def _value(raw: bytes | None) -> Any:
    if not raw:
        return None
    if raw[0] == _DOUBLE_TAG:
        return _DOUBLE.unpack_from(raw, 1)[0]
    return feast_value_type_to_python_type(Value.FromString(raw))


def _end(key: bytes, at: int, values: int) -> int:
    """Return where the values of an entity key end; the rest is the project name."""
    for _ in range(values):
        at += 8 + int.from_bytes(key[at + 4 : at + 8], "little")
    return at


def _escaped(text: bytes) -> bytes:
    """Escape ``text`` for a Redis pattern, so that only the text itself matches."""
    return re.sub(rb"([*?\[\]\\^-])", rb"\\\1", text)


def _ignore(_: int) -> None:
    pass
