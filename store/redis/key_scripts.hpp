// The Lua of upstream keys: one hash holds all, its fields named <code>:<key id>; a sorted set
// tells which changed after a sequence. `embedded/key_table.cpp` says the same.
#pragma once

namespace kw::store::redis {

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
local keys, feed, call = KEYS[1], KEYS[2], redis.pcall
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if call('HSETNX', keys, '#origin', string.format('%.0f', now)) == 1 then
  call('HSET', keys, '#sequence', string.format('%.0f', now * 1000))
end
local function stays(id, told, weight, firm, until_ms)
  local h = call('HMGET', keys, 'f:' .. id, 'b:' .. id, 'e:' .. id, 'w:' .. id, 'm:' .. id)
  if not h[1] or h[2] == ARGV[1] or told >= tonumber(h[1]) then return false end
  if firm == '1' or h[5] == '1' then return firm ~= '1' end
  local ends = h[3] == '' and math.huge or tonumber(h[3])
  local heavy = ends <= now and 0 or tonumber(h[4])
  if weight ~= heavy then return weight < heavy end
  return until_ms <= ends
end
for i = 4, #ARGV, 17 do
  local id, uses, successes, failures, tokens, day, start_uses, start_tokens, rate, text, rest,
    knew, weight, firm, left, holds, gone = unpack(ARGV, i, i + 16)
  if gone == '1' then
    call('HDEL', keys, 'u:' .. id, 's:' .. id, 'x:' .. id, 't:' .. id, 'd:' .. id, 'du:' .. id,
      'dt:' .. id, 'r:' .. id, 'f:' .. id, 'b:' .. id, 'k:' .. id, 'e:' .. id, 'w:' .. id,
      'm:' .. id, 'l:' .. id, 'le:' .. id, 'lb:' .. id)
    call('ZREM', feed, id)
  else
    local sequence = string.format('%.0f', call('HINCRBY', keys, '#sequence', 1))
    local known = tonumber(call('HGET', keys, 'd:' .. id) or '-1')
    if uses ~= '0' then call('HINCRBY', keys, 'u:' .. id, uses) end
    if successes ~= '0' then call('HINCRBY', keys, 's:' .. id, successes) end
    if failures ~= '0' then call('HINCRBY', keys, 'x:' .. id, failures) end
    if tokens ~= '0' then call('HINCRBY', keys, 't:' .. id, tokens) end
    if tonumber(day) > known then
      call('HSET', keys, 'd:' .. id, day, 'du:' .. id, start_uses, 'dt:' .. id, start_tokens)
    end
    if tonumber(day) >= known then
      if uses ~= '0' then call('HINCRBY', keys, 'du:' .. id, uses) end
      if tokens ~= '0' then call('HINCRBY', keys, 'dt:' .. id, tokens) end
    end
    call('HSET', keys, 'r:' .. id, rate)
    if text ~= '' then
      local ends = rest == '' and math.huge or now + tonumber(rest)
      if not stays(id, tonumber(knew), tonumber(weight), firm, ends) then
        call('HSET', keys, 'f:' .. id, sequence, 'b:' .. id, ARGV[1], 'k:' .. id, text,
          'e:' .. id, rest == '' and '' or string.format('%.0f', ends), 'w:' .. id, weight,
          'm:' .. id, firm)
      end
    end
    if left ~= '' then
      call('HSET', keys, 'l:' .. id, left, 'le:' .. id,
        string.format('%.0f', now + tonumber(holds)), 'lb:' .. id, ARGV[1])
    end
    call('ZADD', feed, sequence, id)
  end
end
return 1
)";

// KEYS: keys, feed of the keys. ARGV: origin, sequence, how many at most.
// Answers {origin, sequence, milliseconds now, "1" if read from the beginning, then a list for each
// key: id, its sequence, its fields}.
inline constexpr const char* read_keys_script = R"(
local head = redis.call('HMGET', KEYS[1], '#origin', '#sequence')
local origin, last, since, reset = head[1] or '0', head[2] or '0', ARGV[2], '0'
if origin == '0' or origin ~= ARGV[1] or tonumber(since) > tonumber(last) then
  since, reset = '0', '1'
end
local t = redis.call('TIME')
local out = {origin, last, string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), reset}
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0,
  ARGV[3])
for i = 1, #found, 2 do
  local id = found[i]
  out[#out + 1] = {id, found[i + 1], redis.call('HMGET', KEYS[1], 'u:' .. id, 's:' .. id,
    'x:' .. id, 't:' .. id, 'd:' .. id, 'du:' .. id, 'dt:' .. id, 'r:' .. id, 'f:' .. id,
    'b:' .. id, 'k:' .. id, 'e:' .. id, 'l:' .. id, 'le:' .. id, 'lb:' .. id)}
end
return out
)";

}  // namespace kw::store::redis
