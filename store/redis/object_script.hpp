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

// KEYS: a debt, the ids of unpaid ones by when they are looked after.
// ARGV: now, what, id, seconds; then owe: until it is looked after, note, most ids; claim: who;
// due: how many. A debt is "until claimant\nnote", or "paid".
inline constexpr const char* debts_script = R"(
local now, what, id, length = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
if what == 'owe' then
  if not redis.call('SET', KEYS[1], '0 \n' .. ARGV[6], 'NX', 'EX', length) then return {} end
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), id)
  local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[7])
  if over > 0 then redis.call('ZREMRANGEBYRANK', KEYS[2], 0, math.min(over, 100) - 1) end
  return {}
end
if what == 'due' then
  local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[5])
  for i = 1, #ids do redis.call('ZADD', KEYS[2], now + length, ids[i]) end
  return ids
end
if what == 'pay' then
  redis.call('SET', KEYS[1], 'paid', 'EX', length)
  redis.call('ZREM', KEYS[2], id)
  return {}
end
local held = redis.call('GET', KEYS[1])
if not held then return {} end
if held == 'paid' then return {'paid'} end
local ends, who, note = string.match(held, '^(%d+) ([^\n]*)\n(.*)$')
if tonumber(ends) > now and who ~= ARGV[5] then return {'anothers'} end
local left = redis.call('TTL', KEYS[1])
redis.call('SET', KEYS[1], string.format('%.0f', now + length) .. ' ' .. ARGV[5] .. '\n' .. note,
           'EX', math.max(left, 1))
return {'yours', note}
)";

}  // namespace kw::store::redis
