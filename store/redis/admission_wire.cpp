// Encoding and reading of admission's steps.
#include "store/redis/admission_wire.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "store/ledger_batch.hpp"

namespace kw::store::redis {
namespace {

constexpr std::int64_t billion = 1'000'000'000;
constexpr std::int64_t max_amount = 1'000'000 * billion;
constexpr std::int64_t most_billions = 9'000'000'000;  // that an amount can tell

static_assert(std::endian::native == std::endian::little, "numbers go as they lie in memory");

// Numbers as one word of doubles: a script reads all of them by one call.
class numbers {
  public:
    void add(std::int64_t n) { add_double(static_cast<double>(n)); }
    // Two: billions, and the rest.
    void add_amount(std::int64_t n) {
        add(n / billion);
        add(n % billion);
    }
    void add_amounts(const amounts& a) {
        for (const auto n : {a.requests, a.tokens, a.cost})
            add_amount(std::clamp<std::int64_t>(n, 0, max_amount));
    }
    // Begin and end of the period, and the end of the next.
    void add_periods(const limit& budget, std::int64_t now_ms) {
        const auto period = bounds_of(budget, now_ms);
        add(period.begin);
        add(period.end);
        add(period.end == 0 ? 0 : bounds_of(budget, period.end).end);
    }
    void add_limit(const limit& l, std::int64_t now_ms) {
        add(l.kind == limit_kind::sliding  ? 1
            : l.kind == limit_kind::fixed  ? 2
            : l.kind == limit_kind::budget ? 3
                                           : 4);
        add(static_cast<int>(l.unit) + 1);
        add_amount(l.cap);
        if (l.kind == limit_kind::budget) return add_periods(l, now_ms);
        add(l.kind == limit_kind::sliding ? part_ms(l.length) : l.length.count());
        add(0);
        add(0);
    }
    [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_.data(), size_}; }

  private:
    void add_double(double d) {
        std::memcpy(bytes_.data() + size_, &d, sizeof d);
        size_ += sizeof d;
    }
    static constexpr std::size_t most = 7 * max_limits;  // all limits of an admission
    std::array<char, most * sizeof(double)> bytes_;
    std::size_t size_ = 0;
};

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
        key(shard, "lim:", s.access_key_id);
        key(shard, "end:", s.access_key_id);
    }
    void script(admission_script which, std::size_t keys, std::size_t arguments) const {
        to.begin(3 + keys + arguments);
        to.word("EVALSHA");
        to.word(wire.hashes_[static_cast<std::size_t>(which)]);
        to.number(static_cast<std::int64_t>(keys));
    }
    // What the numbers of every script begin with.
    [[nodiscard]] numbers times() const {
        numbers out;
        out.add(wire.options_.time_offset.count());
        out.add(wire.options_.fixed_time_ms != nullptr ? wire.options_.fixed_time_ms->load() : 0);
        return out;
    }
};

admission_wire::frame& admission_wire::frame_of(const step& s, std::int64_t now_ms) {
    auto at = frames_.find(s.access_key_id);
    if (at == frames_.end()) {
        if (frames_.size() >= max_frames) frames_.erase(frames_.begin());
        at = frames_.try_emplace(s.access_key_id).first;
        pipeline keys;
        const words in_keys{*this, keys};
        in_keys.keys_of(s);
        in_keys.key(shard_of(s.access_key_id), "lims");
        at->second.keys = std::move(keys.unsent());
    }
    frame& f = at->second;
    if (!s.limits || (f.limits == s.limits && now_ms >= f.from_ms && now_ms < f.until_ms)) return f;
    f.limits = s.limits;
    f.from_ms = std::numeric_limits<std::int64_t>::min();
    f.until_ms = std::numeric_limits<std::int64_t>::max();
    numbers bounds;
    pipeline names;
    const auto& limits = s.limits->items();
    for (std::size_t i = 0; i < limits.size(); ++i) {
        names.word(s.limits->names()[i]);
        bounds.add_limit(limits[i], now_ms);
        if (limits[i].kind != limit_kind::budget) continue;
        const auto period = bounds_of(limits[i], now_ms);
        f.from_ms = std::max(f.from_ms, period.begin);
        if (period.end != 0) f.until_ms = std::min(f.until_ms, period.end);
    }
    pipeline word;
    word.word(bounds.bytes());
    f.bounds = std::move(word.unsent());
    f.names = std::move(names.unsent());
    return f;
}

void admission_wire::encode_admit(const step& s, std::int64_t now_ms, pipeline& to) {
    const words out{*this, to};
    const frame& same = frame_of(s, now_ms);
    out.script(admission_script::admit, 3, 3 + s.limits->items().size());
    to.encoded(same.keys);
    numbers all = out.times();
    all.add(s.is == step_kind::book ? 2 : s.is == step_kind::peek ? 3 : 1);
    all.add(s.ttl.count());
    all.add(s.bounded ? 1 : 0);
    all.add(options_.keep_expired.count());
    all.add(options_.keep_settled.count());
    all.add(s.limits->keep_ms());
    all.add(s.limits->counts_only() ? 1 : 0);
    all.add_amounts(s.amount);
    to.word(all.bytes());
    to.word(s.ledger_id);
    to.encoded(same.bounds);
    to.encoded(same.names);
}

void admission_wire::encode_end(const step& s, std::int64_t now_ms, pipeline& to) {
    const words out{*this, to};
    const frame& same = frame_of(s, now_ms);
    const bool settles = s.is == step_kind::settle && same.limits;
    out.script(admission_script::settle, 3, 2 + (settles ? same.limits->items().size() : 0));
    to.encoded(same.keys);
    numbers all = out.times();
    all.add(s.is == step_kind::settle ? 1 : 2);
    all.add(options_.keep_expired.count());
    all.add(options_.keep_settled.count());
    all.add_amounts(s.amount);
    to.word(all.bytes());
    to.word(s.ledger_id);
    if (settles) to.encoded(same.names);
}

void admission_wire::encode(const step& s, std::int64_t now_ms, pipeline& to) {
    const words out{*this, to};
    numbers all = out.times();
    switch (s.is) {
        case step_kind::admit:
        case step_kind::book:
        case step_kind::peek:
            return encode_admit(s, now_ms, to);
        case step_kind::settle:
        case step_kind::release:
            return encode_end(s, now_ms, to);
        case step_kind::renew:
            out.script(admission_script::renew, 3, 1 + s.ids.size());
            to.encoded(frame_of(s, now_ms).keys);
            all.add(s.ttl.count());
            all.add(options_.keep_expired.count());
            all.add(options_.keep_settled.count());
            to.word(all.bytes());
            for (const auto& id : s.ids)
                to.word(id);
            return;
        case step_kind::preload:
            out.script(admission_script::preload, 3, 2);
            out.keys_of(s);
            out.key(shard_of(s.access_key_id), "lims");
            all.add(s.limits->keep_ms());
            all.add_periods(s.limits->items().front(), now_ms);
            all.add_amount(std::max<std::int64_t>(s.amount.requests, 0));
            to.word(all.bytes());
            return to.word(s.limits->names().front());
        case step_kind::forget:
            to.begin(3);
            to.word("DEL");
            return out.keys_of(s);
        case step_kind::sweep:
            out.script(admission_script::sweep, 1, 3);
            out.key(s.shard, "lims");
            all.add(options_.keep_expired.count());
            all.add(sweep_keys);
            to.word(all.bytes());
            out.key(s.shard, "lim:");
            return out.key(s.shard, "end:");
        case step_kind::beat:
            out.script(admission_script::beat, 1, 2);
            to.word({prefix_, "{m}:replicas"});
            all.add(std::chrono::milliseconds(replica_alive).count());
            to.word(all.bytes());
            return to.word(replica_id_);
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
    if (from.is != reply::kind::text || from.text.size() != (5 + 3 * items.size()) * sizeof(double))
        return false;
    const char* p = from.text.data();
    bool good = true;
    const auto next = [&] {
        double n = 0;
        std::memcpy(&n, p, sizeof n);
        p += sizeof n;
        good = good && n > -1e18 && n < 1e18;  // none that is no number
        return good ? static_cast<std::int64_t>(n) : 0;
    };
    const auto verdict = next();
    good = good && verdict >= 1 && verdict <= 3;
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
    for (const auto& item : items) {
        const auto billions = std::min(next(), most_billions);
        const auto rest = next();
        to.states.push_back(
            {billions * billion + rest, item.cap, std::chrono::milliseconds(next())});
    }
    return good && (to.refused_by < items.size() || items.empty());
}

}  // namespace kw::store::redis
