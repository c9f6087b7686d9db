// Encoding and reading of admission's steps.
#include "store/redis/admission_wire.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "store/ledger_batch.hpp"

namespace kw::store::redis {
namespace {

constexpr std::int64_t billion = 1'000'000'000;
constexpr std::int64_t max_amount = 1'000'000 * billion;

void add_amount(pipeline& to, std::int64_t n) {
    to.number(n / billion);
    to.number(n % billion);
}

void add_amounts(pipeline& to, const amounts& a) {
    for (const auto n : {a.requests, a.tokens, a.cost})
        add_amount(to, std::clamp<std::int64_t>(n, 0, max_amount));
}

// Begin and end of the period, and the end of the next.
void add_periods(pipeline& to, const limit& budget, std::int64_t now_ms) {
    const auto period = bounds_of(budget, now_ms);
    to.number(period.begin);
    to.number(period.end);
    to.number(period.end == 0 ? 0 : bounds_of(budget, period.end).end);
}

void add_limit(pipeline& to, const limit& l, const std::string& name, std::int64_t now_ms) {
    to.word(name);
    to.number(static_cast<int>(l.unit) + 1);
    add_amount(to, l.cap);
    if (l.kind == limit_kind::budget) return add_periods(to, l, now_ms);
    to.number(l.kind == limit_kind::sliding ? part_ms(l.length) : l.length.count());
    to.number(0);
    to.number(0);
}

}  // namespace

std::size_t place_of(const step& s) noexcept {
    if (s.is == step_kind::beat || s.is == step_kind::leave) return shard_count;
    return s.is == step_kind::sweep ? s.shard : shard_of(s.access_key_id);
}

std::string tag_of(std::size_t step_place) {
    return step_place == shard_count ? "{m}" : "{" + std::to_string(step_place) + "}";
}

step step_of(step_kind is, const lease_ref& which) {
    step s;
    s.is = is;
    s.access_key_id = which.access_key_id;
    s.ledger_id = which.ledger_id;
    return s;
}

step step_of(step_kind is, const admit_request& r) {
    auto s = step_of(is, lease_ref{r.access_key_id, r.ledger_id});
    s.limits = r.limits;
    s.amount = r.reservation;
    s.bounded = r.bounded;
    s.ttl = r.lease_ttl;
    return s;
}

admission_wire::admission_wire(std::string prefix, const admission_options& options,
                               std::string replica_id)
    : prefix_(std::move(prefix)), options_(options), replica_id_(std::move(replica_id)) {}

void admission_wire::load(pipeline& to) const {
    for (const auto& text : admission_scripts())
        to.add({"SCRIPT", "LOAD", text});
}

bool admission_wire::learn(const std::vector<reply>& loaded) {
    if (loaded.size() != hashes_.size()) return false;
    for (std::size_t i = 0; i < hashes_.size(); ++i) {
        if (loaded[i].is != reply::kind::text) return false;
        hashes_[i] = loaded[i].text;
    }
    return true;
}

// The words that most commands have in common.
struct admission_wire::words {
    const admission_wire& wire;
    pipeline& to;

    // Of one shard, so that a cluster keeps them together.
    void key(std::size_t shard, std::string_view kind, std::string_view id = {}) const {
        std::array<char, 24> number;
        const auto* const end =
            std::to_chars(number.data(), number.data() + number.size(), shard).ptr;
        to.word({wire.prefix_,
                 "{",
                 {number.data(), static_cast<std::size_t>(end - number.data())},
                 "}:",
                 kind,
                 id});
    }
    void keys_of(const step& s) const {
        const auto shard = shard_of(s.access_key_id);
        key(shard, "use:", s.access_key_id);
        key(shard, "due:", s.access_key_id);
    }
    // The arguments count the time, which is their first.
    void script(admission_script which, std::size_t keys, std::size_t arguments) const {
        to.begin(3 + keys + arguments);
        to.word("EVALSHA");
        to.word(wire.hashes_[static_cast<std::size_t>(which)]);
        to.number(static_cast<std::int64_t>(keys));
    }
    void time() const {
        if (wire.options_.fixed_time_ms != nullptr)
            to.word({"=", std::to_string(wire.options_.fixed_time_ms->load())});
        else
            to.number(wire.options_.time_offset.count());
    }
};

admission_wire::frame& admission_wire::frame_of(const step& s, std::int64_t now_ms) {
    auto at = frames_.find(s.access_key_id);
    if (at == frames_.end()) {
        if (frames_.size() >= max_frames) frames_.erase(frames_.begin());
        at = frames_.try_emplace(s.access_key_id).first;
        const auto shard = shard_of(s.access_key_id);
        pipeline keys;
        pipeline used;
        const words in_keys{*this, keys};
        in_keys.keys_of(s);
        words{*this, used}.key(shard, "used");
        at->second.keys = std::move(keys.unsent());
        at->second.used = std::move(used.unsent());
    }
    frame& f = at->second;
    if (!s.limits || (f.limits == s.limits && now_ms >= f.from_ms && now_ms < f.until_ms)) return f;
    f.limits = s.limits;
    f.from_ms = std::numeric_limits<std::int64_t>::min();
    f.until_ms = std::numeric_limits<std::int64_t>::max();
    pipeline middle;
    middle.number(options_.keep_expired.count());
    middle.number(s.limits->keep_ms());
    middle.word(s.access_key_id);
    f.middle = std::move(middle.unsent());
    pipeline bounds;
    const auto& limits = s.limits->items();
    for (std::size_t i = 0; i < limits.size(); ++i) {
        add_limit(bounds, limits[i], s.limits->names()[i], now_ms);
        if (limits[i].kind != limit_kind::budget) continue;
        const auto period = bounds_of(limits[i], now_ms);
        f.from_ms = std::max(f.from_ms, period.begin);
        if (period.end != 0) f.until_ms = std::min(f.until_ms, period.end);
    }
    f.bounds = std::move(bounds.unsent());
    return f;
}

void admission_wire::encode_admit(const step& s, std::int64_t now_ms, pipeline& to) {
    const words out{*this, to};
    const frame& same = frame_of(s, now_ms);
    out.script(admission_script::admit, 3, 14 + 7 * s.limits->items().size());
    to.encoded(same.keys);
    to.encoded(same.used);
    out.time();
    to.word(s.ledger_id);
    to.word(s.is == step_kind::book ? "f" : s.is == step_kind::peek ? "p" : "a");
    to.number(s.ttl.count());
    to.word(s.bounded ? "1" : "0");
    to.encoded(same.middle);
    add_amounts(to, s.amount);
    to.encoded(same.bounds);
}

void admission_wire::encode(const step& s, std::int64_t now_ms, pipeline& to) {
    const words out{*this, to};
    switch (s.is) {
        case step_kind::admit:
        case step_kind::book:
        case step_kind::peek:
            return encode_admit(s, now_ms, to);
        case step_kind::settle:
        case step_kind::release:
            out.script(admission_script::settle, 3, 11);
            to.encoded(frame_of(s, now_ms).keys);
            to.encoded(frame_of(s, now_ms).used);
            out.time();
            to.word(s.ledger_id);
            to.word(s.is == step_kind::settle ? "s" : "r");
            to.number(options_.keep_expired.count());
            to.number(options_.keep_settled.count());
            return add_amounts(to, s.amount);
        case step_kind::renew:
            out.script(admission_script::renew, 3, 3 + s.ids.size());
            out.keys_of(s);
            out.key(shard_of(s.access_key_id), "used");
            out.time();
            to.number(s.ttl.count());
            to.number(options_.keep_expired.count());
            for (const auto& id : s.ids)
                to.word(id);
            return;
        case step_kind::preload:
            out.script(admission_script::preload, 3, 9);
            out.keys_of(s);
            out.key(shard_of(s.access_key_id), "used");
            out.time();
            to.word(s.access_key_id);
            to.number(s.limits->keep_ms());
            to.word(s.limits->names().front());
            add_periods(to, s.limits->items().front(), now_ms);
            return add_amount(to, std::max<std::int64_t>(s.amount.requests, 0));
        case step_kind::forget:
            to.begin(3);
            to.word("DEL");
            return out.keys_of(s);
        case step_kind::sweep:
            out.script(admission_script::sweep, 1, 5);
            out.key(s.shard, "used");
            out.time();
            out.key(s.shard, "use:");
            out.key(s.shard, "due:");
            to.number(options_.keep_expired.count());
            return to.number(sweep_keys);
        case step_kind::beat:
            out.script(admission_script::beat, 1, 3);
            to.word({prefix_, "{m}:replicas"});
            out.time();
            to.word(replica_id_);
            return to.number(std::chrono::milliseconds(replica_alive).count());
        case step_kind::leave:
            to.begin(3);
            to.word("ZREM");
            to.word({prefix_, "{m}:replicas"});
            return to.word(replica_id_);
    }
}

bool admission_wire::read(const reply& from, const limit_set& limits, admit_answer& to,
                          std::int64_t& leases) {
    const auto& items = limits.items();
    if (from.is != reply::kind::text) return false;
    const char* p = from.text.data();
    const char* const end = p + from.text.size();
    bool good = true;
    const auto next = [&] {
        std::int64_t n = 0;
        const auto got = std::from_chars(p, end, n);
        good = good && got.ec == std::errc() && (got.ptr == end || *got.ptr == ' ');
        p = got.ptr == end ? end : got.ptr + 1;
        return n;
    };
    const auto verdict = next();
    to.is = verdict == 1   ? admit_answer::outcome::admitted
            : verdict == 2 ? admit_answer::outcome::refused
                           : admit_answer::outcome::waits;
    const auto by = next();
    to.refused_by = by > 0 ? static_cast<std::size_t>(by) - 1 : 0;
    to.retry_in = std::chrono::milliseconds(next());
    leases = next();
    next();  // Redis' time
    to.states.clear();
    to.states.reserve(items.size());
    for (std::size_t i = 0; good && i < items.size(); ++i) {
        const auto billions = next();
        const auto rest = next();
        to.states.push_back(
            {billions * billion + rest, items[i].cap, std::chrono::milliseconds(next())});
    }
    return good && p == end && (to.refused_by < items.size() || items.empty());
}

}  // namespace kw::store::redis
