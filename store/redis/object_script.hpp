// The Lua of the board of objects.
#pragma once

namespace kw::store::redis {

// KEYS: a part of the ids, the accounts of the owner.
// ARGV: now, most ids of the part; id, account, owner, seconds it is kept, "1" to claim only; most
// accounts. A value is "end account\nowner".
inline constexpr const char* bind_object_script = R"(
local now, most, keep = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[6])
if ARGV[7] == '1' then
  local held = redis.call('HGET', KEYS[1], ARGV[3])
  if held and tonumber(string.match(held, '^%d+')) > now then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[3], string.format('%.0f', now + keep) .. ' ' .. ARGV[4] .. '\n' .. ARGV[5])
if redis.call('TTL', KEYS[1]) < keep then redis.call('EXPIRE', KEYS[1], keep) end
if redis.call('HLEN', KEYS[1]) > most then
  local all, gone, first, first_end = redis.call('HGETALL', KEYS[1]), {}, nil, nil
  for i = 1, #all, 2 do
    local ends = tonumber(string.match(all[i + 1], '^%d+')) or 0
    if ends <= now then gone[#gone + 1] = all[i] end
    if not first or ends < first_end then first, first_end = all[i], ends end
  end
  if #gone == 0 then gone[1] = first end
  redis.call('HDEL', KEYS[1], unpack(gone))
end
redis.call('HSET', KEYS[2], ARGV[4], now)
if redis.call('TTL', KEYS[2]) < keep then redis.call('EXPIRE', KEYS[2], keep) end
if redis.call('HLEN', KEYS[2]) > tonumber(ARGV[8]) then
  local all, first, first_at = redis.call('HGETALL', KEYS[2]), nil, nil
  for i = 1, #all, 2 do
    local at = tonumber(all[i + 1]) or 0
    if not first or at < first_at then first, first_at = all[i], at end
  end
  redis.call('HDEL', KEYS[2], first)
end
return 1
)";

}  // namespace kw::store::redis
