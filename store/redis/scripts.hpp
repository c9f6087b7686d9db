// The Lua that makes several steps one. Every key of a script carries the same hash tag.
#pragma once

#include <array>
#include <cstddef>

#include "store/redis/cap_script.hpp"
#include "store/redis/key_scripts.hpp"
#include "store/redis/object_script.hpp"

namespace kw::store::redis {

enum class script : std::size_t {
    change_record,
    apply_batch,
    tell_keys,
    read_keys,
    ask_caps,
    bind_object,
    debts
};

// KEYS: records of the kind, ids of the kind, revision, feed; audit trail, its times.
// ARGV: id, revision it must have, json, "1" to erase, feed member, channel; and with an entry of
// the audit trail: its id, microseconds, body, most entries kept.
// Answers {what, revision}: "ok" and the new one; "conflict" or "missing" and the stored one.
inline constexpr const char* change_record_script = R"(
local held = redis.call('HGET', KEYS[1], ARGV[1])
local stored = held and string.match(held, '^%d+') or '0'
local erase = ARGV[4] == '1'
if erase and not held then return {'missing', stored} end
if stored ~= ARGV[2] and not (erase and ARGV[2] == '0') then return {'conflict', stored} end
local revision = string.format('%.0f', redis.call('INCR', KEYS[3]))
if erase then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], revision .. ' ' .. ARGV[3])
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
end
redis.call('ZADD', KEYS[4], revision, ARGV[5])
if ARGV[7] then
  redis.call('HSET', KEYS[5], ARGV[7], ARGV[9])
  redis.call('ZADD', KEYS[6], ARGV[8], ARGV[7])
  local over = math.min(redis.call('ZCARD', KEYS[6]) - tonumber(ARGV[10]), 100)
  if over > 0 then
    local gone = redis.call('ZPOPMIN', KEYS[6], over)
    for i = 1, #gone, 2 do redis.call('HDEL', KEYS[5], gone[i]) end
  end
end
redis.pcall('PUBLISH', ARGV[6], revision)
return {'ok', revision}
)";

// KEYS: number, ledger, ledger's times, stream of events, then one hash of aggregates each.
// ARGV: number, number it must follow, seconds the number is kept, records, most records kept, most
// events kept (about), then id, milliseconds, body of each record, then for each hash: when it
// expires (0: never), how many additions, and field and amount of each; then the version of events
// and the events, or nothing. Amounts stay texts: a Lua number would lose digits above 2^53.
// The number is written first: if Redis is full or read-only, that fails and nothing was done.
inline constexpr const char* apply_batch_script = R"(
local held = redis.call('GET', KEYS[1]) or '0'
if tonumber(held) >= tonumber(ARGV[1]) or held ~= ARGV[2] then return {0, held} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
local at, left, add = 7, tonumber(ARGV[4]), redis.pcall
while left > 0 do
  local bodies, times = {}, {}
  for i = 1, math.min(left, 500) do
    bodies[2 * i - 1], bodies[2 * i] = ARGV[at], ARGV[at + 2]
    times[2 * i - 1], times[2 * i] = ARGV[at + 1], ARGV[at]
    at = at + 3
  end
  left = left - #times / 2
  add('HSET', KEYS[2], unpack(bodies))
  add('ZADD', KEYS[3], unpack(times))
end
for k = 5, #KEYS do
  local key, expires, last = KEYS[k], ARGV[at], at + 1 + 2 * tonumber(ARGV[at + 1])
  for i = at + 2, last, 2 do add('HINCRBY', key, ARGV[i], ARGV[i + 1]) end
  if expires ~= '0' then add('EXPIREAT', key, expires) end
  at = last + 1
end
for i = at + 1, #ARGV do
  add('XADD', KEYS[4], 'MAXLEN', '~', ARGV[6], '*', 'v', ARGV[at], 'event', ARGV[i])
end
local over = math.min(redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[5]), 1000)
if over > 0 then
  local gone, ids = redis.call('ZPOPMIN', KEYS[3], over), {}
  for i = 1, #gone, 2 do ids[#ids + 1] = gone[i] end
  redis.call('HDEL', KEYS[2], unpack(ids))
end
return {1, ARGV[1]}
)";

inline constexpr std::array all_scripts{
    change_record_script, apply_batch_script, tell_keys_script, read_keys_script,
    ask_caps_script,      bind_object_script, debts_script};

}  // namespace kw::store::redis
