// The Lua of admission: each step of an access key is one script, and atomic. Both implementations
// have the same meaning; the one in memory is the easier to read.
//
// KEYS[1] hash of the access key:
//   m          leases, requests without a bound, last admission, how long it counts (-1: for ever)
//   r:<id>     phase, bounded, released; time of admission, the reservation, names of its limits
//   <limit>    part, or begin of window or period, and what is used
//   <limit>:n  of a trailing window, the part with n = part mod 61: part, what was used in it
// KEYS[2] sorted set of the ids: the lease's end; or, once expired or settled, when to forget it
// KEYS[3] sorted set, of a shard: its access keys by when to look at them. A step that does not
// need
//         it names it all the same: while a Cluster moves the shard all steps of an access key wait
//         alike, and none overtakes another.
// Phases: 1 running, 2 released, 3 expired, 4 settled. Times are milliseconds.
// An amount is two numbers, billions and the rest: a Lua number would lose digits above 2^53.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace kw::store::redis {

inline constexpr const char* admission_common = R"(
local call, sub, find, floor = redis.call, string.sub, string.find, math.floor
local format, tonumber = string.format, tonumber

local function clock(at)
  if sub(at, 1, 1) == '=' then return tonumber(sub(at, 2)) end
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000) + tonumber(at)
end

local function meta(text)
  if not text then return 0, 0, 0, 0 end
  local _, _, leases, open, at, keep = find(text, '^(%S+) (%S+) (%S+) (%S+)')
  return tonumber(leases), tonumber(open), tonumber(at), tonumber(keep)
end

local function put_meta(leases, open, at, keep)
  return format('%d %d %d %d', leases, open, at, keep)
end

local function cell(text)
  if not text then return nil, 0, 0 end
  local _, _, mark, hi, lo = find(text, '^(%S+) (%S+) (%S+)')
  return tonumber(mark), tonumber(hi), tonumber(lo)
end

local function put_cell(mark, hi, lo)
  return format('%d %d %d', mark, hi, lo)
end

local function sum(hi, lo, more_hi, more_lo)
  hi, lo = hi + more_hi, lo + more_lo
  if lo < 0 then return hi - 1, lo + 1e9 end
  if lo >= 1e9 then return hi + 1, lo - 1e9 end
  return hi, lo
end

-- Looks at a bounded number of what is due, and says how many.
local function sweep(use, due, now, keep)
  local ids = call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 64)
  local count = #ids / 2
  if count == 0 then return 0 end
  local fields = {'m'}
  for i = 1, count do fields[i + 1] = 'r:' .. ids[2 * i - 1] end
  local held = call('HMGET', use, unpack(fields))
  local leases, open, at, kept = meta(held[1])
  local put, again, gone, ended = {}, {}, {}, {}
  for i = 1, count do
    local e = held[i + 1]
    local phase = e and sub(e, 1, 1)
    local forget_at = tonumber(ids[2 * i])
    if phase == '1' or phase == '2' then
      if phase == '1' then leases = leases - 1 end
      if sub(e, 2, 2) == '0' then open = open - 1 end
      forget_at = forget_at + keep
    end
    if forget_at > now then
      put[#put + 1], put[#put + 2] = fields[i + 1], '3' .. sub(e, 2)
      again[#again + 1], again[#again + 2] = forget_at, ids[2 * i - 1]
    else
      gone[#gone + 1], ended[#ended + 1] = fields[i + 1], ids[2 * i - 1]
    end
  end
  if #gone > 0 then
    call('HDEL', use, unpack(gone))
    call('ZREM', due, unpack(ended))
  end
  if #again > 0 then call('ZADD', due, unpack(again)) end
  if held[1] then call('HSET', use, 'm', put_meta(leases, open, at, kept), unpack(put)) end
  return count
end
)";

// ARGV: time, id, "a" to admit, "f" whatever the limits say, "p" only to look; lease, "1" if
// bounded, keep_expired, how long it counts, access key, reservation of the three units; then for
// each limit: name, unit, cap, three numbers: the part's length; the window's length; begin, end
// and next end of the period.
// Answers, as one text with blanks between: 1 admitted, 2 refused, 3 waits; by which; again in;
// leases; now; then for each limit what is used and when it is reset.
inline constexpr const char* admission_admit = R"(
local use, due = KEYS[1], KEYS[2]
local now, id, mode = clock(ARGV[1]), ARGV[2], ARGV[3]
sweep(use, due, now, tonumber(ARGV[6]))
local limits, amounts = {}, {}
for i = 0, 2 do amounts[i + 1] = {tonumber(ARGV[9 + 2 * i]), tonumber(ARGV[10 + 2 * i])} end
for i = 15, #ARGV, 7 do
  limits[#limits + 1] = {name = ARGV[i], kind = sub(ARGV[i], 1, 1), amount = amounts[tonumber(ARGV[i + 1])],
    chi = tonumber(ARGV[i + 2]), clo = tonumber(ARGV[i + 3]),
    a = tonumber(ARGV[i + 4]), b = tonumber(ARGV[i + 5]), c = tonumber(ARGV[i + 6])}
end

local held
local function fetch()
  local fields = {'m', 'r:' .. id}
  for i = 1, #limits do
    local l = limits[i]
    l.field = #fields + 1
    fields[l.field] = l.name
    if l.kind == 's' then
      l.part = floor(now / l.a)
      l.slot = l.name .. ':' .. l.part % 61
      fields[l.field + 1] = l.slot
    end
  end
  held = call('HMGET', use, unpack(fields))
end
fetch()
local leases, open, at, kept = meta(held[1])
if at > now and at - now <= 60000 then
  now = at
  fetch()
elseif at > now and mode ~= 'p' then
  local gone = {}
  for _, l in ipairs(limits) do
    if l.kind ~= 'b' then gone[#gone + 1] = l.name end
    if l.kind == 's' then for i = 0, 60 do gone[#gone + 1] = l.name .. ':' .. i end end
  end
  if #gone > 0 then call('HDEL', use, unpack(gone)) end
  at = now
  call('HSET', use, 'm', put_meta(leases, open, at, kept))
  fetch()
end

-- What each limit has used by now.
for i = 1, #limits do
  local l = limits[i]
  local mark, hi, lo = cell(held[l.field])
  if l.kind == 's' then
    local behind = mark and l.part - mark or 61
    if behind >= 61 or behind < 0 then
      hi, lo = 0, 0
    elseif behind > 0 then
      local slots = {}
      for i = mark - 60, l.part - 61 do slots[#slots + 1] = l.name .. ':' .. i % 61 end
      for i, text in ipairs(call('HMGET', use, unpack(slots))) do
        local index, shi, slo = cell(text)
        if index == mark - 61 + i then hi, lo = sum(hi, lo, -shi, -slo) end
      end
    end
    l.ends = mark and (mark + 61) * l.a
  elseif l.kind == 'f' then
    if mark and now < mark + l.a then l.begin = mark else l.begin, hi, lo = now, 0, 0 end
    l.ends = l.begin + l.a
  elseif l.kind == 'b' then
    if l.b > 0 and now >= l.b then l.a, l.b = l.b, l.c end
    if mark and mark >= l.a then l.begin = mark else l.begin, hi, lo = l.a, 0, 0 end
    l.ends = l.b > 0 and l.b
  else
    hi, lo = 0, leases
  end
  l.hi, l.lo = hi, lo
end

local known = held[2]
local verdict, by, again = 1, 0, 0
if mode == 'a' and not known then
  for i = 1, #limits do
    local l = limits[i]
    if l.hi > l.chi or (l.hi == l.chi and l.lo >= l.clo) then
      verdict, by = 2, i
      if l.kind == 's' then
        local slots = {}
        for j = l.part - 60, l.part do slots[#slots + 1] = l.name .. ':' .. j % 61 end
        local hi, lo = l.hi, l.lo
        for j, text in ipairs(call('HMGET', use, unpack(slots))) do
          local index, shi, slo = cell(text)
          if index == l.part - 61 + j then hi, lo = sum(hi, lo, -shi, -slo) end
          if hi < l.chi or (hi == l.chi and lo < l.clo) then
            again = (l.part + j) * l.a - now
            break
          end
        end
      elseif l.ends then
        again = l.ends - now
      end
      break
    end
  end
  if verdict == 1 and ARGV[5] == '0' and open > 0 then
    for i, l in ipairs(limits) do
      local left = (l.chi - l.hi) * 1e9 + l.clo - l.lo
      if l.kind == 'b' and l.amount ~= amounts[1] and (left * 10 <= l.chi * 1e9 + l.clo or
          left <= 10 * (l.amount[1] * 1e9 + l.amount[2])) then
        verdict, by = 3, i
        break
      end
    end
  end
end

if mode ~= 'p' and verdict == 1 and not known then
  leases = leases + 1
  if ARGV[5] == '0' then open = open + 1 end
  local keep = tonumber(ARGV[7])
  if kept < 0 or keep < 0 then kept = -1 elseif keep > kept then kept = keep end
  local entry = {format('1%s0 %d', ARGV[5], now)}
  for i = 9, 14 do entry[#entry + 1] = ARGV[i] end
  local put = {'m', put_meta(leases, open, now, kept), 'r:' .. id, false}
  for i = 1, #limits do
    local l = limits[i]
    if l.kind == 'c' then
      l.lo = leases
    else
      entry[#entry + 1] = l.name
      local ahi, alo = l.amount[1], l.amount[2]
      l.hi, l.lo = sum(l.hi, l.lo, ahi, alo)
      if l.kind == 's' then
        local index, shi, slo = cell(held[l.field + 1])
        if index == l.part then ahi, alo = sum(shi, slo, ahi, alo) end
        put[#put + 1], put[#put + 2] = l.slot, put_cell(l.part, ahi, alo)
        l.begin, l.ends = l.part, (l.part + 61) * l.a
      end
      put[#put + 1], put[#put + 2] = l.name, put_cell(l.begin, l.hi, l.lo)
    end
  end
  put[4] = table.concat(entry, ' ')
  call('HSET', use, unpack(put))
  local ends = now + tonumber(ARGV[4])
  call('ZADD', due, ends, id)
  -- Else it is among them: the sweeper takes out only what it deletes, or what counts for ever.
  if not held[1] or kept < 0 then call('ZADD', KEYS[3], 'NX', ends, ARGV[8]) end
end

local out = {verdict, by, again, leases, now}
for i = 1, #limits do
  local l, n = limits[i], #out
  out[n + 1], out[n + 2] = l.hi, l.lo
  out[n + 3] = (l.hi > 0 or l.lo > 0) and l.ends and l.ends - now or 0
end
return table.concat(out, ' ')
)";

// ARGV: time, id, "s" to settle, "r" to release, keep_expired, keep_settled, real amounts.
inline constexpr const char* admission_settle = R"(
local use, due = KEYS[1], KEYS[2]
local now, field = clock(ARGV[1]), 'r:' .. ARGV[2]
sweep(use, due, now, tonumber(ARGV[4]))
local held = call('HMGET', use, 'm', field)
local e = held[2]
local phase = e and sub(e, 1, 1)
if not e or phase == '4' then return 0 end
local leases, open, at, kept = meta(held[1])
if at > now and at - now <= 60000 then now = at end
if phase == '1' then leases = leases - 1 end
if ARGV[3] == 'r' then
  local next_phase = phase == '1' and '2' or phase
  call('HSET', use, 'm', put_meta(leases, open, at, kept), field,
    next_phase .. sub(e, 2, 2) .. '1' .. sub(e, 4))
  return 1
end
if phase ~= '3' and sub(e, 2, 2) == '0' then open = open - 1 end

local words = {}
for word in string.gmatch(sub(e, 5), '%S+') do words[#words + 1] = word end
local admitted, units, changes = tonumber(words[1]), {r = 1, t = 2, c = 3}, {}
for i = 1, 3 do
  changes[i] = {tonumber(ARGV[4 + 2 * i]) - tonumber(words[2 * i]),
    tonumber(ARGV[5 + 2 * i]) - tonumber(words[2 * i + 1])}
end
local put = {'m', put_meta(leases, open, at, kept), field, '4'}
if #words > 7 then
  local fields, parts = {}, {}
  for i = 8, #words do
    local name = words[i]
    fields[#fields + 1] = name
    if sub(name, 1, 1) == 's' then
      parts[i] = floor(admitted / floor((tonumber(sub(name, 3)) + 59) / 60))
      fields[#fields + 1] = name .. ':' .. parts[i] % 61
    end
  end
  local cells, n = call('HMGET', use, unpack(fields)), 0
  for i = 8, #words do
    n = n + 1
    local mark, hi, lo = cell(cells[n])
    local change = changes[units[sub(words[i], 2, 2)]]
    local counts = mark
    if parts[i] then
      n = n + 1
      local index, shi, slo = cell(cells[n])
      counts = index == parts[i] and mark and index <= mark and mark - index < 61
      if counts then
        shi, slo = sum(shi, slo, change[1], change[2])
        put[#put + 1], put[#put + 2] = fields[n], put_cell(index, shi, slo)
      end
    elseif mark then
      counts = admitted >= mark
    end
    if counts then
      hi, lo = sum(hi, lo, change[1], change[2])
      if hi < 0 then hi, lo = 0, 0 end
      put[#put + 1], put[#put + 2] = words[i], put_cell(mark, hi, lo)
    end
  end
end
call('HSET', use, unpack(put))
call('ZADD', due, now + tonumber(ARGV[5]), ARGV[2])
return 1
)";

// ARGV: time, lease, keep_expired, ids without repetitions.
inline constexpr const char* admission_renew = R"(
local use, due = KEYS[1], KEYS[2]
local now = clock(ARGV[1])
sweep(use, due, now, tonumber(ARGV[3]))
local fields = {'m'}
for i = 4, #ARGV do fields[i - 2] = 'r:' .. ARGV[i] end
local held = call('HMGET', use, unpack(fields))
local leases, open, at, kept = meta(held[1])
if at > now and at - now <= 60000 then now = at end
local put, ends = {}, {}
for i = 4, #ARGV do
  local e = held[i - 2]
  local state = e and sub(e, 1, 3)
  if state == '310' or state == '300' then
    leases = leases + 1
    if state == '300' then open = open + 1 end
    put[#put + 1], put[#put + 2] = fields[i - 2], '1' .. sub(e, 2)
  end
  if state and (sub(state, 1, 1) == '1' or #put > 0 and put[#put - 1] == fields[i - 2]) then
    ends[#ends + 1], ends[#ends + 2] = now + tonumber(ARGV[2]), ARGV[i]
  end
end
if #put > 0 then call('HSET', use, 'm', put_meta(leases, open, at, kept), unpack(put)) end
if #ends > 0 then call('ZADD', due, unpack(ends)) end
return #ends / 2
)";

// ARGV: time, access key, how long it counts, name, begin, end and next end of the period, amount.
inline constexpr const char* admission_preload = R"(
local now, begin = clock(ARGV[1]), tonumber(ARGV[5])
if ARGV[6] ~= '0' and now >= tonumber(ARGV[6]) then begin = tonumber(ARGV[6]) end
local held = call('HMGET', KEYS[1], 'm', ARGV[4])
local mark = cell(held[2])
if mark and mark >= begin then return 0 end
local leases, open, at, kept = meta(held[1])
local keep = tonumber(ARGV[3])
if kept < 0 or keep < 0 then kept = -1 elseif keep > kept then kept = keep end
if not held[1] then at = now end
call('HSET', KEYS[1], 'm', put_meta(leases, open, at, kept),
  ARGV[4], put_cell(begin, tonumber(ARGV[8]), tonumber(ARGV[9])))
call('ZADD', KEYS[3], 'NX', now + keep, ARGV[2])
return 1
)";

// KEYS: the shard's access keys. ARGV: time, before and behind an access key in the names of its
// hash and its set, keep_expired, how many to look at. Answers how many it looked at.
inline constexpr const char* admission_sweep = R"(
local now = clock(ARGV[1])
local ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[5])
for _, id in ipairs(ids) do
  local use, due = ARGV[2] .. id, ARGV[3] .. id
  for round = 1, 4 do
    if sweep(use, due, now, tonumber(ARGV[4])) < 64 then break end
  end
  local first = call('ZRANGE', due, 0, 0, 'WITHSCORES')
  local _, _, at, keep = meta(call('HGET', use, 'm'))
  if #first > 0 then
    call('ZADD', KEYS[1], first[2], id)
  elseif keep >= 0 and now < at + keep then
    call('ZADD', KEYS[1], at + keep, id)
  else
    if keep >= 0 then call('DEL', use) end
    call('ZREM', KEYS[1], id)
  end
end
return #ids
)";

// KEYS: replicas by when they were last heard of. ARGV: time, id, how long one is thought alive.
// Answers {now, how many, which of them in the order of ids this one is}.
inline constexpr const char* admission_beat = R"(
local now, rank = clock(ARGV[1]), 0
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[3]))
call('ZADD', KEYS[1], now, ARGV[2])
local ids = call('ZRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
  if id < ARGV[2] then rank = rank + 1 end
end
return {now, #ids, rank}
)";

enum class admission_script : std::size_t { admit, settle, renew, preload, sweep, beat };

// The whole texts, as they are loaded.
[[nodiscard]] inline std::array<std::string, 6> admission_scripts() {
    const std::string common(admission_common);
    return {common + admission_admit,   common + admission_settle, common + admission_renew,
            common + admission_preload, common + admission_sweep,  common + admission_beat};
}

}  // namespace kw::store::redis
