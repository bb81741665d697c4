"""Write rows to Redis with a script that keeps newer ones, encoding its calls in Redis's protocol.

The protocol is RESP (https://redis.io/docs/latest/develop/reference/protocol-spec).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["SCRIPT", "calls"]

SCRIPT = """
local function read(bytes)
  local seconds, nanos, at = 0, 0, 1
  local tag, a, b, c, d, e = string.byte(bytes, 1, 6)
  if tag == 8 and e and a > 127 and b > 127 and c > 127 and d > 127 and e < 128 then  -- 1978 to 3058
    seconds = a - 128 + (b - 128) * 128 + (c - 128) * 16384 + (d - 128) * 2097152 + e * 268435456
    at = 7
  end
  while at <= #bytes do
    local tag, value, unit, last = string.byte(bytes, at), 0, 1, at
    repeat
      last = last + 1
      local byte = string.byte(bytes, last)
      value = value + (byte % 128) * unit
      unit = unit * 128
    until byte < 128
    if last - at == 10 then  -- negative: ten bytes of two's complement
      value, unit = 0, 1
      for index = at + 1, at + 9 do
        value = value + (127 - string.byte(bytes, index) % 128) * unit
        unit = unit * 128
      end
      value = -value - 1
    end
    if tag == 8 then seconds = value else nanos = value end
    at = last + 1
  end
  return seconds, nanos
end

local function older(new, old)
  if not old or new == old then return false end
  local s, n = read(new)
  local t, m = read(old)
  return s < t or (s == t and n < m)
end

local stamp, ttl, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local at = 3 + count
for index, key in ipairs(KEYS) do
  if not older(ARGV[at + 1], redis.call('HGET', key, stamp)) then
    for first = 1, count, 1000 do
      local pairs = {key, stamp, ARGV[at + 1]}
      for field = first, math.min(count, first + 999) do
        pairs[#pairs + 1] = ARGV[3 + field]
        pairs[#pairs + 1] = ARGV[at + 1 + field]
      end
      redis.call('HSET', unpack(pairs))
    end
    if ttl > 0 then redis.call('EXPIRE', key, ttl) end
  end
  at = at + 1 + count
end
return #KEYS
"""
"""KEYS: hashes. ARGV: the field of the timestamp, seconds to live (0: for ever), number of fields, fields,
and for each key its timestamp and values. A key whose timestamp is later than the given is left as it is."""


def calls(
    digest: bytes,
    keys: pa.BinaryArray,
    constants: Sequence[bytes],
    columns: Sequence[pa.BinaryArray],
    size: int,
) -> Iterator[tuple[list[Any], int]]:
    """Yield calls of a loaded script for at most ``size`` keys each, and for how many they are.

    Args:
        digest: of the script.
        keys: what it is called for.
        constants: its first arguments, in each call.
        columns: its further arguments, one of each column for every key; of the length of ``keys``.
        size: how many keys a call may have.

    >>> one = pa.array([b"v"], pa.binary())
    >>> [(parts, count)] = calls(b"d", pa.array([b"k"], pa.binary()), [b"c"], [one], 10)
    >>> b"".join(parts)
    b'*6\\r\\n$7\\r\\nEVALSHA\\r\\n$1\\r\\nd\\r\\n$1\\r\\n1\\r\\n$1\\r\\nk\\r\\n$1\\r\\nc\\r\\n$1\\r\\nv\\r\\n'
    """
    named, named_ends = _bulk([keys])
    given, given_ends = _bulk(columns)
    fixed = b"".join(map(_bulk_string, constants))
    for start in range(0, len(keys), size):
        stop = min(start + size, len(keys))
        count = stop - start
        arguments = 3 + count + len(constants) + count * len(columns)
        words = (b"EVALSHA", digest, str(count).encode())
        head = f"*{arguments}\r\n".encode() + b"".join(map(_bulk_string, words))
        yield (
            [
                head,
                named[named_ends[start] : named_ends[stop]],
                fixed,
                given[given_ends[start] : given_ends[stop]],
            ],
            count,
        )


def _bulk_string(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


def _bulk(columns: Sequence[pa.BinaryArray]) -> tuple[memoryview, Sequence[int]]:
    """Return the rows of ``columns`` as bulk strings, one behind the other, and where each row begins."""
    dollar, end = pa.scalar(b"$", pa.binary()), pa.scalar(b"\r\n", pa.binary())
    pieces: list[Any] = []
    for column in columns:
        lengths = pc.binary_length(column).cast(pa.string()).cast(pa.binary())
        pieces += [dollar, lengths, end, column, end]
    joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"", pa.binary()))
    _, ends, data = joined.buffers()
    return memoryview(data), np.frombuffer(ends, np.int32)[: len(joined) + 1].tolist()
