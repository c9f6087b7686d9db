// The slot table: allocation by key id, and windows.
#include "pool/key_state.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <type_traits>

namespace kw::pool {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

constexpr std::string_view status_names[] = {"active", "cooling", "quarantined", "banned",
                                             "disabled"};
constexpr std::string_view reason_names[] = {
    "none", "rate_limit", "upstream_fault", "overload", "credential", "quota", "breaker", "admin"};

}  // namespace

std::string_view to_string(key_status s) noexcept {
    return status_names[static_cast<std::size_t>(s)];
}
std::string_view to_string(block_reason r) noexcept {
    return reason_names[static_cast<std::size_t>(r)];
}

void key_state::set_gate(key_status s, block_reason r, std::int64_t until) noexcept {
    const std::uint32_t bits = static_cast<std::uint32_t>(s) | static_cast<std::uint32_t>(r) << 16U;
    std::uint32_t old = gate.load(relaxed);
    while (!gate.compare_exchange_weak(old, (old & 0x1000100U) | bits, relaxed)) {
    }
    blocked_until.store(until, std::memory_order_release);
}

std::uint32_t key_state::lacks(std::int32_t flying) const noexcept {
    std::uint32_t out = 0;
    // In one order with the lessee, who takes permits away and then looks at what is in flight.
    if (flying >= permits.load(std::memory_order_seq_cst)) out |= cap_short::permits;
    if (requests_left.load(relaxed) <= 0) out |= cap_short::requests;
    if (minute_tokens_left.load(relaxed) <= 0) out |= cap_short::minute_tokens;
    if (day_tokens_left.load(relaxed) <= 0) out |= cap_short::day_tokens;
    return out;
}

bool key_state::take_caps(std::int32_t flying, std::int32_t estimate) noexcept {
    std::uint32_t lack = lacks(flying);
    if (lack == 0) {
        // What is left may fall below zero by one exchange, not by one for each worker.
        if (requests_left.fetch_sub(1, relaxed) <= 0) lack |= cap_short::requests;
        if (minute_tokens_left.fetch_sub(estimate, relaxed) <= 0) lack |= cap_short::minute_tokens;
        if (day_tokens_left.fetch_sub(estimate, relaxed) <= 0) lack |= cap_short::day_tokens;
        if (lack == 0) return true;
        requests_left.fetch_add(1, relaxed);
        minute_tokens_left.fetch_add(estimate, relaxed);
        day_tokens_left.fetch_add(estimate, relaxed);
    }
    short_of.fetch_or(lack, relaxed);
    return false;
}

std::int64_t key_state::paced_until(std::int64_t now) const noexcept {
    std::int64_t until = 0;
    if (const auto end = pace_requests_end.load(relaxed);
        end > now && pace_requests.load(relaxed) <= 0)
        until = end;
    if (const auto end = pace_tokens_end.load(relaxed); end > now && pace_tokens.load(relaxed) <= 0)
        until = std::max(until, end);
    return until;
}

bool key_state::take_pace(std::int64_t now, std::int32_t estimate, std::int64_t& window) noexcept {
    // As with caps: what is left may fall below zero by one exchange, not by one for each worker.
    const bool requests_count = pace_requests_end.load(relaxed) > now;
    if (requests_count && pace_requests.fetch_sub(1, relaxed) <= 0) {
        pace_requests.fetch_add(1, relaxed);
        return false;
    }
    const auto tokens_end = pace_tokens_end.load(relaxed);
    window = tokens_end > now ? tokens_end : 0;
    if (window == 0 || pace_tokens.fetch_sub(estimate, relaxed) > 0) {
        if (!requests_count) pace_unknown.fetch_add(1, relaxed);
        return true;
    }
    pace_tokens.fetch_add(estimate, relaxed);
    if (requests_count) pace_requests.fetch_add(1, relaxed);
    return false;
}

void key_use::end(std::int64_t tokens) noexcept {
    if (state_ == nullptr) return;
    key_state& s = *std::exchange(state_, nullptr);
    if (tokens != estimate_) s.rank_tokens.fetch_add(tokens - estimate_, relaxed);
    if (capped_ && tokens != estimate_) {
        s.minute_tokens_left.fetch_sub(tokens - estimate_, relaxed);
        s.day_tokens_left.fetch_sub(tokens - estimate_, relaxed);
    }
    if (pace_window_ != 0 && s.pace_tokens_end.load(relaxed) == pace_window_)
        s.pace_tokens.fetch_sub(tokens - estimate_, relaxed);
    if (estimate_ != 0) s.estimate_in_flight.fetch_sub(estimate_, relaxed);
    if (tokens != 0) {
        s.tokens.fetch_add(tokens, relaxed);
        // What the provider tells holds until it tells again.
        if (s.told_left.load(relaxed) == unknown_amount &&
            s.quota_left.load(relaxed) != unknown_amount)
            s.quota_left.fetch_sub(tokens, relaxed);
    }
    s.in_flight.fetch_sub(1, std::memory_order_release);
}

struct state_table::impl {
    struct entry {
        std::string key_id;  // "" : free
    };
    mutable std::mutex mutex;
    // Raw, so that a few keys do not touch the pages of a thousand.
    struct freed {
        void operator()(key_state* chunk) const noexcept { std::free(chunk); }
    };
    static_assert(std::is_trivially_destructible_v<key_state>);
    std::vector<std::unique_ptr<key_state, freed>> memory;
    std::vector<entry> entries;
    std::unordered_map<std::string, std::uint32_t> by_id;
    std::uint64_t changes = 0;
    std::vector<std::uint32_t> free;
    std::vector<std::string> hosts;
    std::unordered_map<std::string, std::uint32_t> host_ids;
    std::unordered_map<std::string, std::unique_ptr<ring_cursor>> cursors;
    std::int64_t day = -1;
};

state_table::state_table() : impl_(std::make_unique<impl>()) {}
state_table::~state_table() = default;

slot_id state_table::acquire(const std::string& key_id) {
    const std::lock_guard lock(impl_->mutex);
    auto& m = *impl_;
    if (const auto found = m.by_id.find(key_id); found != m.by_id.end()) {
        const auto i = found->second;
        const auto& s = chunks_[i / chunk_size].load(relaxed)[i % chunk_size];
        return {i, s.generation.load(relaxed)};
    }
    std::uint32_t index = slot_id::none;
    for (std::size_t k = 0; k < m.free.size(); ++k) {
        const auto i = m.free[k];
        if (chunks_[i / chunk_size].load(relaxed)[i % chunk_size].in_flight.load(
                std::memory_order_acquire) == 0) {
            index = i;
            m.free[k] = m.free.back();
            m.free.pop_back();
            break;
        }
        if (k == 64) break;  // the rest is busy as well, most likely
    }
    if (index == slot_id::none) {
        if (m.entries.size() == chunk_size * max_chunks) return {};
        index = static_cast<std::uint32_t>(m.entries.size());
        if (index % chunk_size == 0) {
            m.memory.emplace_back(static_cast<key_state*>(
                std::aligned_alloc(alignof(key_state), chunk_size * sizeof(key_state))));
            if (!m.memory.back()) throw std::bad_alloc();
            chunks_[index / chunk_size].store(m.memory.back().get(), std::memory_order_release);
        }
        new (&chunks_[index / chunk_size].load(relaxed)[index % chunk_size]) key_state;
        m.entries.emplace_back();
    }
    key_state& s = chunks_[index / chunk_size].load(relaxed)[index % chunk_size];
    const auto generation = s.generation.fetch_add(1, relaxed) + 1;
    s.last_used = 0;
    s.rank_tokens = 0;
    s.header_reset = 0;
    s.header_remaining = 0;
    s.quota_left = unknown_amount;
    s.told_left = unknown_amount;
    s.estimate_in_flight = 0;
    s.rank_uses = 0;
    s.success = 1.0F;
    s.uses = 0;
    s.successes = 0;
    s.failures = 0;
    s.tokens = 0;
    s.outcomes = 0;
    s.permits = 0;
    s.requests_left = 0;
    s.minute_tokens_left = 0;
    s.day_tokens_left = 0;
    s.short_of = 0;
    s.drained = 0;
    s.pace_requests_end = 0;
    s.pace_tokens_end = 0;
    s.pace_unknown = 0;
    s.consecutive_failures = 0;
    s.failure_window_start = 0;
    s.level = 0;
    s.gate = 0;
    s.blocked_until.store(0, std::memory_order_release);
    ++m.changes;
    m.entries[index] = {key_id};
    m.by_id.emplace(key_id, index);
    return {index, generation};
}

void state_table::release(const std::string& key_id) {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->by_id.find(key_id);
    if (found == impl_->by_id.end()) return;
    const auto i = found->second;
    key_state& s = chunks_[i / chunk_size].load(relaxed)[i % chunk_size];
    s.generation.fetch_add(1, relaxed);  // verdicts on the way are for nobody now
    s.set_gate(key_status::disabled, block_reason::admin, forever);
    ++impl_->changes;
    impl_->entries[i].key_id.clear();
    impl_->free.push_back(i);
    impl_->by_id.erase(found);
}

std::optional<slot_id> state_table::find(const std::string& key_id) const {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->by_id.find(key_id);
    if (found == impl_->by_id.end()) return std::nullopt;
    const auto i = found->second;
    return slot_id{i,
                   chunks_[i / chunk_size].load(relaxed)[i % chunk_size].generation.load(relaxed)};
}

std::string state_table::key_id(slot_id slot) const {
    if (get(slot) == nullptr) return {};
    const std::lock_guard lock(impl_->mutex);
    return impl_->entries[slot.index].key_id;
}

std::vector<std::pair<std::string, slot_id>> state_table::all() const {
    const std::lock_guard lock(impl_->mutex);
    std::vector<std::pair<std::string, slot_id>> out;
    out.reserve(impl_->by_id.size());
    for (const auto& [id, i] : impl_->by_id) {
        const auto& s = chunks_[i / chunk_size].load(relaxed)[i % chunk_size];
        out.emplace_back(id, slot_id{i, s.generation.load(relaxed)});
    }
    return out;
}

std::uint64_t state_table::changes() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->changes;
}

void state_table::for_each(const std::function<void(slot_id, key_state&)>& see) {
    const std::lock_guard lock(impl_->mutex);
    for (std::uint32_t i = 0; i < impl_->entries.size(); ++i) {
        if (impl_->entries[i].key_id.empty()) continue;
        key_state& s = chunks_[i / chunk_size].load(relaxed)[i % chunk_size];
        see({i, s.generation.load(relaxed)}, s);
    }
}

const key_state* state_table::get(slot_id slot) const noexcept {
    if (slot.index >= chunk_size * max_chunks) return nullptr;
    const key_state* chunk = chunks_[slot.index / chunk_size].load(std::memory_order_acquire);
    if (chunk == nullptr) return nullptr;
    const key_state& s = chunk[slot.index % chunk_size];
    return s.generation.load(relaxed) == slot.generation ? &s : nullptr;
}

key_state* state_table::get(slot_id slot) noexcept {
    return const_cast<key_state*>(std::as_const(*this).get(slot));
}

std::uint32_t state_table::host_index(const std::string& host) {
    const std::lock_guard lock(impl_->mutex);
    const auto [at, fresh] =
        impl_->host_ids.emplace(host, static_cast<std::uint32_t>(impl_->hosts.size()));
    if (fresh) impl_->hosts.push_back(host);
    return at->second;
}

std::string state_table::host_name(std::uint32_t index) const {
    const std::lock_guard lock(impl_->mutex);
    return index < impl_->hosts.size() ? impl_->hosts[index] : std::string();
}

ring_cursor& state_table::cursor(const std::string& name) {
    const std::lock_guard lock(impl_->mutex);
    auto& c = impl_->cursors[name];
    if (!c) c = std::make_unique<ring_cursor>();
    return *c;
}

void state_table::roll_windows(wall_time now) {
    const auto day = std::chrono::floor<std::chrono::days>(now).time_since_epoch().count();
    const std::lock_guard lock(impl_->mutex);
    if (day == impl_->day) return;
    const bool first = impl_->day < 0;
    impl_->day = day;
    if (first) return;
    for (const auto& [id, i] : impl_->by_id) {
        key_state& s = chunks_[i / chunk_size].load(relaxed)[i % chunk_size];
        // The estimates in flight belong to the new window: their settlement takes them out again.
        s.rank_tokens.fetch_sub(s.rank_tokens.load(relaxed) - s.estimate_in_flight.load(relaxed),
                                relaxed);
        s.rank_uses.store(0, relaxed);
    }
}

}  // namespace kw::pool
