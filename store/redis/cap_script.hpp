// The Lua of caps of upstream keys. `embedded/caps.cpp` says the same.
#pragma once

namespace kw::store::redis {

// KEYS: replicas by end of their lease, contests by time, then one hash for each ask: h:<replica>
// what it holds, b:<bucket> what was used.
// ARGV: replica, milliseconds of its lease, then 7 for each ask: name ("<unit><key>"), cap, used,
// wanted, in use, "1" if short, the day's start. Units: 0 concurrent, 1 and 2 a minute, 3 a day.
// Answers {replicas, rank, "1" if it was not known, list of "<replica> <name>" contested, then held
// and free for each ask}.
inline constexpr const char* ask_caps_script = R"(
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local call, me = redis.call, ARGV[1]
local known = call('ZSCORE', KEYS[1], me)
call('ZADD', KEYS[1], now + tonumber(ARGV[2]), me)
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 2000)
local names = call('ZRANGE', KEYS[1], 0, -1)
table.sort(names)
local live, rank = {}, 0
for i, name in ipairs(names) do
  live[name] = true
  if name == me then rank = i - 1 end
end
local joined = (not known or tonumber(known) <= now) and '1' or '0'
local out = {#names, rank, joined, call('ZRANGE', KEYS[2], 0, 199)}
local function whole(n) return string.format('%.0f', n) end
for k = 3, #KEYS do
  local key, i = KEYS[k], 3 + (k - 3) * 7
  local name, cap, used, want, in_use, short, start = unpack(ARGV, i, i + 6)
  local unit = string.sub(name, 1, 1)
  local timed, daily = unit ~= '0', unit == '3'
  local bucket = math.floor(now / (daily and 86400000 or 5000))
  local others, before, seen = 0, 0, false
  used = tonumber(used)
  local all = call('HGETALL', key)
  for f = 1, #all, 2 do
    local field, amount = all[f], tonumber(all[f + 1])
    local rest = string.sub(field, 3)
    if string.sub(field, 1, 1) == 'h' then
      if not live[rest] then
        if timed then used = used + math.max(amount, 0) end
        call('HDEL', key, field)
      elseif rest ~= me then
        others = others + amount
      end
    elseif tonumber(rest) <= bucket - (daily and 1 or 13) then
      call('HDEL', key, field)
    else
      before, seen = before + amount, true
    end
  end
  if timed then
    if daily and not seen then used = used + tonumber(start) end
    if used ~= 0 then call('HINCRBY', key, 'b:' .. whole(bucket), whole(used)) end
    used = before + used
    call('EXPIRE', key, 172800)
  end
  local room = tonumber(cap) - math.max(used, 0) - others
  local held = math.max(math.min(tonumber(want), room), tonumber(in_use), 0)
  if held > 0 then call('HSET', key, 'h:' .. me, whole(held)) else call('HDEL', key, 'h:' .. me) end
  if short == '1' then call('ZADD', KEYS[2], now, me .. ' ' .. name) end
  out[#out + 1] = whole(held)
  out[#out + 1] = whole(math.max(room - held, 0))
end
return out
)";

}  // namespace kw::store::redis
