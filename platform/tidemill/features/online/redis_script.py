"""Holds the script by which Redis writes rows and keeps newer ones."""

__all__ = ["SCRIPT"]

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
