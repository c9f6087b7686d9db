// The Lua of admission: each step of an access key is one script, and atomic. Both implementations
// have the same meaning; the one in memory is the easier to read.
//
// KEYS[1] hash of the access key:
//   m          leases, requests without a bound, last admission, how long it counts (-1: for ever),
//              when something may be due
//   r:<id>     phase, bounded, released; until when it is known, time of admission, the
//              reservation; names of its limits
//   <limit>    begin of window or period, and what is used; of a trailing window the last part,
//              what is used in all and what in that part
//   <limit>:n  of a trailing window, an earlier part with n = part mod 61: part, what is used in it
// KEYS[2] sorted set of the ids: the lease's end, or once expired when to forget it; ids that are
//         only to be forgotten come together at the end of a second, with a half behind it
// KEYS[3] sorted set, of a shard: its access keys by when to look at them. A step that does not
// need
//         it names it all the same: while a Cluster moves the shard all steps of an access key wait
//         alike, and none overtakes another.
// Phases: 1 running, 2 released, 3 expired, 4 settled, 5 counted, which holds no lease. Times are
// milliseconds.
// An amount is two numbers, billions and the rest: a Lua number would lose digits above 2^53.
// Numbers are stored, sent and answered as doubles in their bytes: nothing is read from text.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace kw::store::redis {

inline constexpr const char* admission_common = R"(
local call, sub, floor, min = redis.call, string.sub, math.floor, math.min
local pack, numbers = struct.pack, struct.unpack
local never = 9e15

local function clock(shift, fixed)
  if fixed > 0 then return fixed end
  local t = call('TIME')
  return t[1] * 1000 + floor(t[2] / 1000) + shift
end

local function meta(text)
  if not text then return 0, 0, 0, 0, never end
  return numbers('<ddddd', text)
end

local function put_meta(leases, open, at, keep, next_due)
  return pack('<ddddd', leases, open, at, keep, next_due)
end

local function cell(text)
  if not text then return nil, 0, 0 end
  return numbers('<ddd', text)
end

local function sum(hi, lo, more_hi, more_lo)
  hi, lo = hi + more_hi, lo + more_lo
  if lo < 0 then return hi - 1, lo + 1e9 end
  if lo >= 1e9 then return hi + 1, lo - 1e9 end
  return hi, lo
end

local function forget_at(at)
  return (floor(at / 1000) + 1) * 1000 + 0.5
end

-- What is known of an id: its phase, or nothing.
local function phase_of(e, now)
  local phase = e and sub(e, 1, 1)
  if (phase == '4' or phase == '5') and numbers('<d', e, 4) <= now then return nil end
  return phase
end

-- Looks at a bounded number of what is due, and says how many.
local function sweep(use, due, now, keep)
  local ids = call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 64)
  local count = #ids
  local leased, fields, ends, gone, ended = {}, {'m'}, {}, {}, {}
  for i = 1, count, 2 do
    local id, at = ids[i], tonumber(ids[i + 1])
    if at == floor(at) then
      leased[#leased + 1], ends[#ends + 1], fields[#fields + 1] = id, at, 'r:' .. id
    else
      gone[#gone + 1], ended[#ended + 1] = 'r:' .. id, id
    end
  end
  local held = call('HMGET', use, unpack(fields))
  local leases, open, at, kept = meta(held[1])
  local put, again = {}, {}
  for i = 1, #leased do
    local e = held[i + 1]
    local phase = e and sub(e, 1, 1)
    local forget = ends[i]
    if phase == '1' or phase == '2' then
      if phase == '1' then leases = leases - 1 end
      if sub(e, 2, 2) == '0' then open = open - 1 end
      forget = forget + keep
    end
    if forget > now then
      put[#put + 1], put[#put + 2] = fields[i + 1], '3' .. sub(e, 2)
      again[#again + 1], again[#again + 2] = forget, leased[i]
    else
      gone[#gone + 1], ended[#ended + 1] = fields[i + 1], leased[i]
    end
  end
  if #gone > 0 then
    call('HDEL', use, unpack(gone))
    call('ZREM', due, unpack(ended))
  end
  if #again > 0 then call('ZADD', due, unpack(again)) end
  if held[1] then
    local next_due = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
    call('HSET', use, 'm', put_meta(leases, open, at, kept, tonumber(next_due) or never),
      unpack(put))
  end
  return count / 2
end
)";

// ARGV: numbers; id; numbers of each limit; names of the limits. The first numbers: shift of the
// clock, fixed time (0: none), mode (1 to admit, 2 whatever the limits say, 3 only to look), lease,
// 1 if bounded, keep_expired, keep_settled, how long it counts, 1 if it holds no lease, reservation
// of the three units. Of a limit: kind (1 trailing, 2 fixed, 3 budget, 4 leases), unit, cap, three
// numbers: the part's length; the window's length; begin, end and next end of the period.
// Answers numbers: 1 admitted, 2 refused, 3 waits; by which; again in; leases; now; then for each
// limit what is used and when it is reset.
inline constexpr const char* admission_admit = R"(
local use, due = KEYS[1], KEYS[2]
local shift, fixed, mode, lease, bounded, keep_expired, keep_settled, keep, counted,
  rhi, rlo, thi, tlo, ohi, olo = numbers('<ddddddddddddddd', ARGV[1])
local now, field = clock(shift, fixed), 'r:' .. ARGV[2]
local limits, count, pos = {}, #ARGV - 3, 1
for i = 1, count do
  local kind, unit, chi, clo, a, b, c
  kind, unit, chi, clo, a, b, c, pos = numbers('<ddddddd', ARGV[3], pos)
  limits[i] = {name = ARGV[i + 3], kind = kind, unit = unit, chi = chi, clo = clo, a = a, b = b, c = c,
    ahi = unit == 1 and rhi or unit == 2 and thi or ohi,
    alo = unit == 1 and rlo or unit == 2 and tlo or olo,
    hi = 0, lo = 0, mark = false, phi = 0, plo = 0, ends = false}
end

local held
local leases, open, at, kept, next_due
local function fetch()
  held = call('HMGET', use, 'm', field, unpack(ARGV, 4))
  leases, open, at, kept, next_due = meta(held[1])
end
fetch()
if now >= next_due then
  sweep(use, due, now, keep_expired)
  fetch()
end
if at > now and at - now <= 60000 then
  now = at
elseif at > now and mode ~= 3 then
  local gone = {}
  for _, l in ipairs(limits) do
    if l.kind ~= 3 then gone[#gone + 1] = l.name end
    if l.kind == 1 then for i = 0, 60 do gone[#gone + 1] = l.name .. ':' .. i end end
  end
  if #gone > 0 then call('HDEL', use, unpack(gone)) end
  call('HSET', use, 'm', put_meta(leases, open, now, kept, next_due))
  fetch()
end

-- The parts first to last of a trailing window, by index.
local function parts(l, first, last)
  local slots, out = {}, {}
  for i = first, last do slots[#slots + 1] = l.name .. ':' .. i % 61 end
  for i, text in ipairs(call('HMGET', use, unpack(slots))) do
    local index, hi, lo = cell(text)
    if index == first + i - 1 then out[index] = {hi, lo} end
  end
  if l.mark and l.mark <= last then out[l.mark] = {l.phi, l.plo} end
  return out
end

-- What each limit has used by now.
for i = 1, count do
  local l, text = limits[i], held[i + 2]
  local kind = l.kind
  if kind == 1 then
    l.part = floor(now / l.a)
    if text then
      local mark, hi, lo, phi, plo = numbers('<ddddd', text)
      local behind = l.part - mark
      -- One of the future is from before the clock was set back.
      if behind >= 0 then l.mark, l.phi, l.plo, l.ends = mark, phi, plo, (mark + 61) * l.a end
      if behind == 0 then
        l.hi, l.lo = hi, lo
      elseif behind > 0 and behind < 61 then
        for _, part in pairs(parts(l, mark - 60, l.part - 61)) do hi, lo = sum(hi, lo, -part[1], -part[2]) end
        l.hi, l.lo = hi, lo
      end
    end
  elseif kind == 4 then
    l.lo = leases
  else
    local mark, hi, lo = cell(text)
    if kind == 2 then
      if mark and now < mark + l.a then l.mark, l.hi, l.lo = mark, hi, lo else l.mark = now end
      l.ends = l.mark + l.a
    else
      if l.b > 0 and now >= l.b then l.a, l.b = l.b, l.c end
      if mark and mark >= l.a then l.mark, l.hi, l.lo = mark, hi, lo else l.mark = l.a end
      l.ends = l.b > 0 and l.b
    end
  end
end

local known = phase_of(held[2], now)
local verdict, by, again = 1, 0, 0
if mode == 1 and not known then
  for i = 1, count do
    local l = limits[i]
    if l.hi > l.chi or (l.hi == l.chi and l.lo >= l.clo) then
      verdict, by = 2, i
      if l.kind == 1 then
        local hi, lo = l.hi, l.lo
        local all = parts(l, l.part - 60, l.part)
        for j = l.part - 60, l.part do
          local part = all[j]
          if part then hi, lo = sum(hi, lo, -part[1], -part[2]) end
          if hi < l.chi or (hi == l.chi and lo < l.clo) then
            again = (j + 61) * l.a - now
            break
          end
        end
      elseif l.ends then
        again = l.ends - now
      end
      break
    end
  end
  if verdict == 1 and bounded == 0 and open > 0 then
    for i = 1, count do
      local l = limits[i]
      local left = (l.chi - l.hi) * 1e9 + l.clo - l.lo
      if l.kind == 3 and l.unit ~= 1 and (left * 10 <= l.chi * 1e9 + l.clo or
          left <= 10 * (l.ahi * 1e9 + l.alo)) then
        verdict, by = 3, i
        break
      end
    end
  end
end

if mode ~= 3 and verdict == 1 and not known then
  local ends, until_when, phase = now + lease, 0, '1'
  if counted == 1 then
    until_when = now + keep_settled
    ends, phase = forget_at(until_when), '5'
  else
    leases = leases + 1
    if bounded == 0 then open = open + 1 end
  end
  if kept < 0 or keep < 0 then kept = -1 elseif keep > kept then kept = keep end
  local entry = phase .. (bounded == 0 and '00' or '10') ..
    pack('<dddddddd', until_when, now, rhi, rlo, thi, tlo, ohi, olo)
  local put = {'m', put_meta(leases, open, now, kept, min(next_due, ends)), field, false}
  for i = 1, count do
    local l = limits[i]
    if l.kind == 4 then
      l.lo = leases
    else
      entry = entry .. l.name .. ' '
      local ahi, alo, n = l.ahi, l.alo, #put
      l.hi, l.lo = sum(l.hi, l.lo, ahi, alo)
      put[n + 1] = l.name
      if l.kind == 1 then
        if l.mark == l.part then
          ahi, alo = sum(l.phi, l.plo, ahi, alo)
        elseif l.mark then
          put[n + 3], put[n + 4] = l.name .. ':' .. l.mark % 61, pack('<ddd', l.mark, l.phi, l.plo)
        end
        put[n + 2] = pack('<ddddd', l.part, l.hi, l.lo, ahi, alo)
        l.ends = (l.part + 61) * l.a
      else
        put[n + 2] = pack('<ddd', l.mark, l.hi, l.lo)
      end
    end
  end
  put[4] = entry
  call('HSET', use, unpack(put))
  call('ZADD', due, ends, ARGV[2])
  -- Else it is among them: the sweeper takes out only what it deletes, or what counts for ever.
  -- The names of the two keys differ in their ends alone: the one has the access key behind it.
  if not held[1] or kept < 0 then call('ZADD', KEYS[3], 'NX', ends, sub(use, #KEYS[3] + 1)) end
end

local out = pack('<ddddd', verdict, by, again, leases, now)
for i = 1, count do
  local l = limits[i]
  out = out .. pack('<ddd', l.hi, l.lo, (l.hi > 0 or l.lo > 0) and l.ends and l.ends - now or 0)
end
return out
)";

// ARGV: numbers; id; names of limits that it may have. The numbers: shift, fixed time, 1 to settle
// or 2 to release, keep_expired, keep_settled, real amounts.
inline constexpr const char* admission_settle = R"(
local use, due = KEYS[1], KEYS[2]
local shift, fixed, mode, keep_expired, keep_settled, rhi, rlo, thi, tlo, ohi, olo =
  numbers('<ddddddddddd', ARGV[1])
local now, field = clock(shift, fixed), 'r:' .. ARGV[2]
local held
local leases, open, at, kept, next_due
local function fetch()
  held = call('HMGET', use, 'm', field, unpack(ARGV, 3))
  leases, open, at, kept, next_due = meta(held[1])
end
fetch()
if now >= next_due then
  sweep(use, due, now, keep_expired)
  fetch()
end
if at > now and at - now <= 60000 then now = at end
local e = held[2]
local phase = phase_of(e, now)
if not phase or phase == '4' then return 0 end
if mode == 2 then
  if phase == '5' then return 0 end
  if phase == '1' then leases, phase = leases - 1, '2' end
  call('HSET', use, 'm', put_meta(leases, open, at, kept, next_due), field,
    phase .. sub(e, 2, 2) .. '1' .. sub(e, 4))
  return 1
end
if phase == '1' then leases = leases - 1 end
if (phase == '1' or phase == '2') and sub(e, 2, 2) == '0' then open = open - 1 end

local forget = forget_at(now + keep_settled)
local put = {'m', put_meta(leases, open, at, kept, min(next_due, forget)), field,
  '4' .. sub(e, 2, 3) .. pack('<d', now + keep_settled)}
local _, admitted, frhi, frlo, fthi, ftlo, fohi, folo, names_at = numbers('<dddddddd', e, 4)
local cells, fields, missing = {}, {}, {}
for i = 3, #ARGV do cells[ARGV[i]] = held[i] end
for name in string.gmatch(sub(e, names_at), '%S+') do
  fields[#fields + 1] = name
  if cells[name] == nil then missing[#missing + 1] = name end
end
if #missing > 0 then
  for i, text in ipairs(call('HMGET', use, unpack(missing))) do cells[missing[i]] = text end
end
for i = 1, #fields do
  local name = fields[i]
  local unit, text = sub(name, 2, 2), cells[name]
  local dhi, dlo = ohi - fohi, olo - folo
  if unit == 'r' then dhi, dlo = rhi - frhi, rlo - frlo elseif unit == 't' then dhi, dlo = thi - fthi, tlo - ftlo end
  if text and (dhi ~= 0 or dlo ~= 0) then
    local n = #put
    if sub(name, 1, 1) == 's' then
      local mark, hi, lo, phi, plo = numbers('<ddddd', text)
      local part = floor(admitted / floor((tonumber(sub(name, 3)) + 59) / 60))
      local counts = part == mark
      if counts then
        phi, plo = sum(phi, plo, dhi, dlo)
      elseif part < mark and mark - part < 61 then
        local slot = name .. ':' .. part % 61
        local index, shi, slo = cell(call('HGET', use, slot))
        counts = index == part
        if counts then
          shi, slo = sum(shi, slo, dhi, dlo)
          put[n + 3], put[n + 4] = slot, pack('<ddd', part, shi, slo)
        end
      end
      if counts then
        hi, lo = sum(hi, lo, dhi, dlo)
        if hi < 0 then hi, lo = 0, 0 end
        put[n + 1], put[n + 2] = name, pack('<ddddd', mark, hi, lo, phi, plo)
      end
    else
      local mark, hi, lo = cell(text)
      if admitted >= mark then
        hi, lo = sum(hi, lo, dhi, dlo)
        if hi < 0 then hi, lo = 0, 0 end
        put[n + 1], put[n + 2] = name, pack('<ddd', mark, hi, lo)
      end
    end
  end
end
call('HSET', use, unpack(put))
call('ZADD', due, forget, ARGV[2])
return 1
)";

// ARGV: numbers (shift, fixed time, lease, keep_expired, keep_settled), ids without repetitions.
inline constexpr const char* admission_renew = R"(
local use, due = KEYS[1], KEYS[2]
local shift, fixed, lease, keep_expired, keep_settled = numbers('<ddddd', ARGV[1])
local now = clock(shift, fixed)
sweep(use, due, now, keep_expired)
local fields = {'m'}
for i = 2, #ARGV do fields[i] = 'r:' .. ARGV[i] end
local held = call('HMGET', use, unpack(fields))
local leases, open, at, kept, next_due = meta(held[1])
if at > now and at - now <= 60000 then now = at end
local put, ends = {}, {}
for i = 2, #ARGV do
  local e = held[i]
  local phase = phase_of(e, now)
  local until_when
  if phase == '3' and sub(e, 3, 3) == '0' then
    leases = leases + 1
    if sub(e, 2, 2) == '0' then open = open + 1 end
    put[#put + 1], put[#put + 2] = fields[i], '1' .. sub(e, 2)
    until_when = now + lease
  elseif phase == '1' then
    until_when = now + lease
  elseif phase == '5' then
    put[#put + 1], put[#put + 2] = fields[i], sub(e, 1, 3) .. pack('<d', now + keep_settled) .. sub(e, 12)
    until_when = forget_at(now + keep_settled)
  end
  if until_when then
    ends[#ends + 1], ends[#ends + 2] = until_when, ARGV[i]
    next_due = min(next_due, until_when)
  end
end
if #ends > 0 then
  call('HSET', use, 'm', put_meta(leases, open, at, kept, next_due), unpack(put))
  call('ZADD', due, unpack(ends))
end
return #ends / 2
)";

// ARGV: numbers (shift, fixed time, how long it counts, begin, end and next end of the period,
// amount), name.
inline constexpr const char* admission_preload = R"(
local shift, fixed, keep, begin, ends, next_end, hi, lo = numbers('<dddddddd', ARGV[1])
local now = clock(shift, fixed)
if ends > 0 and now >= ends then begin = ends end
local held = call('HMGET', KEYS[1], 'm', ARGV[2])
local mark = cell(held[2])
if mark and mark >= begin then return 0 end
local leases, open, at, kept, next_due = meta(held[1])
if kept < 0 or keep < 0 then kept = -1 elseif keep > kept then kept = keep end
if not held[1] then at = now end
call('HSET', KEYS[1], 'm', put_meta(leases, open, at, kept, next_due),
  ARGV[2], pack('<ddd', begin, hi, lo))
call('ZADD', KEYS[3], 'NX', now + keep, sub(KEYS[1], #KEYS[3] + 1))
return 1
)";

// KEYS: the shard's access keys. ARGV: numbers (shift, fixed time, keep_expired, how many to look
// at), before an access key in the names of its hash and its set. Answers how many it looked at.
inline constexpr const char* admission_sweep = R"(
local shift, fixed, keep_expired, most = numbers('<dddd', ARGV[1])
local now = clock(shift, fixed)
local ids = call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most)
for _, id in ipairs(ids) do
  local use, due = ARGV[2] .. id, ARGV[3] .. id
  for round = 1, 4 do
    if sweep(use, due, now, keep_expired) < 64 then break end
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

// KEYS: replicas by when they were last heard of. ARGV: numbers (shift, fixed time, how long one is
// thought alive), id. Answers {now, how many, which of them in the order of ids this one is}.
inline constexpr const char* admission_beat = R"(
local shift, fixed, alive = numbers('<ddd', ARGV[1])
local now, rank = clock(shift, fixed), 0
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - alive)
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
