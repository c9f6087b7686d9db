// The Lua of upstream keys: one hash holds a line for each, a sorted set tells which changed after
// a sequence. Few commands for many keys. `embedded/key_table.cpp` says the same.
#pragma once

namespace kw::store::redis {

// A line is 17 fields, each with "|" behind it: uses, successes, failures, tokens, day, the day's
// uses and tokens, success rate, sequence of the finding, its replica, its text, its end in
// milliseconds
// ("": none), weight, "1" if firm; left by headers, their end, their replica.

// KEYS: keys, feed of the keys, the replica's last number.
// ARGV: replica, number, seconds the number is kept, then 17 for each key: id, uses, successes,
// failures, tokens, day, start of the day's uses and tokens, success rate, text of the finding ("":
// none), its milliseconds ("": no end), what it knew, weight, "1" if firm, tokens left by headers
// ("": none), milliseconds they hold, "1" to forget the key.
// The number is written first: if Redis is full or read-only, that fails and nothing was done.
inline constexpr const char* tell_keys_script = R"(
local held = tonumber(redis.call('GET', KEYS[3]) or '0')
if held >= tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[3])
local keys, feed, call, me = KEYS[1], KEYS[2], redis.call, ARGV[1]
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function whole(n) return string.format('%.0f', n) end
if call('HSETNX', keys, '#origin', whole(now)) == 1 then
  call('HSET', keys, '#sequence', whole(now * 1000))
end
local ids = {}
for i = 4, #ARGV, 17 do ids[#ids + 1] = ARGV[i] end
if #ids == 0 then return 1 end
local sequence = call('HINCRBY', keys, '#sequence', #ids) - #ids
local lines, found = {}, call('HMGET', keys, unpack(ids))
for i, id in ipairs(ids) do lines[id] = found[i] end
local function stays(f, told, weight, firm, ends)
  if f[9] == '0' or f[10] == me or told >= tonumber(f[9]) then return false end
  if firm == '1' or f[14] == '1' then return firm ~= '1' end
  local until_ms = f[12] == '' and math.huge or tonumber(f[12])
  local heavy = until_ms <= now and 0 or tonumber(f[13])
  if weight ~= heavy then return weight < heavy end
  return ends <= until_ms
end
local changed = {}
for i = 4, #ARGV, 17 do
  local id, uses, successes, failures, tokens, day, start_uses, start_tokens, rate, text, rest,
    knew, weight, firm, left, holds, gone = unpack(ARGV, i, i + 16)
  sequence = sequence + 1
  if gone == '1' then
    lines[id], changed[id] = nil, nil
    call('HDEL', keys, id)
    call('ZREM', feed, id)
  else
    local f = {}
    for part in string.gmatch(lines[id] or '', '([^|]*)|') do f[#f + 1] = part end
    if #f ~= 17 then
      f = {'0', '0', '0', '0', '-1', '0', '0', '0', '0', '', '', '', '0', '0', '0', '0', ''}
    end
    f[1], f[2] = whole(f[1] + uses), whole(f[2] + successes)
    f[3], f[4] = whole(f[3] + failures), whole(f[4] + tokens)
    local known = tonumber(f[5])
    if tonumber(day) > known then f[5], f[6], f[7] = day, start_uses, start_tokens end
    if tonumber(day) >= known then f[6], f[7] = whole(f[6] + uses), whole(f[7] + tokens) end
    f[8] = rate
    if text ~= '' then
      local ends = rest == '' and math.huge or now + tonumber(rest)
      if not stays(f, tonumber(knew), tonumber(weight), firm, ends) then
        f[9], f[10], f[11], f[12] = whole(sequence), me, text, rest == '' and '' or whole(ends)
        f[13], f[14] = weight, firm
      end
    end
    if left ~= '' then f[15], f[16], f[17] = left, whole(now + tonumber(holds)), me end
    lines[id] = table.concat(f, '|') .. '|'
    changed[id] = sequence
  end
end
local written, scored = {}, {}
for id, at in pairs(changed) do
  written[#written + 1], written[#written + 2] = id, lines[id]
  scored[#scored + 1], scored[#scored + 2] = whole(at), id
end
if #written > 0 then
  call('HSET', keys, unpack(written))
  call('ZADD', feed, unpack(scored))
end
return 1
)";

// KEYS: keys, feed of the keys. ARGV: origin, sequence, how many at most.
// Answers {origin, sequence, milliseconds now, "1" if read from the beginning, list of ids and
// sequences, list of lines}.
inline constexpr const char* read_keys_script = R"(
local head = redis.call('HMGET', KEYS[1], '#origin', '#sequence')
local origin, last, since, reset = head[1] or '0', head[2] or '0', ARGV[2], '0'
if origin == '0' or origin ~= ARGV[1] or tonumber(since) > tonumber(last) then
  since, reset = '0', '1'
end
local t = redis.call('TIME')
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0,
  ARGV[3])
local ids = {}
for i = 1, #found, 2 do ids[#ids + 1] = found[i] end
local lines = #ids > 0 and redis.call('HMGET', KEYS[1], unpack(ids)) or {}
return {origin, last, string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), reset, found,
  lines}
)";

}  // namespace kw::store::redis
