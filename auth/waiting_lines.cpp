// The lines, spread over shards under a lock each, and their statistics.
#include "auth/waiting_lines.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>

#include "core/metrics.hpp"

namespace kw::auth {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

// Waits are counted in buckets that grow by a fifth: the first ends at 1 ms, the last takes the
// rest, beyond a minute or so.
constexpr std::size_t buckets = 64;
constexpr double buckets_per_doubling = 4;

std::size_t bucket_of(milliseconds wait) noexcept {
    if (wait <= 1ms) return 0;
    const double at =
        std::ceil(std::log2(static_cast<double>(wait.count())) * buckets_per_doubling);
    return std::min(static_cast<std::size_t>(at), buckets - 1);
}

milliseconds end_of(std::size_t bucket) noexcept {
    return milliseconds(
        std::llround(std::ceil(std::exp2(static_cast<double>(bucket) / buckets_per_doubling))));
}

// Of slots that are freed here while other processes wait for the same limit, one in so many is
// left to whoever asks next.
constexpr std::uint32_t hand_overs = 4;
constexpr auto shared_pause = 50ms;
constexpr auto own_pause = 250ms;  // what no sign tells of: leases that expired
constexpr auto pause_per_line = 2ms;

}  // namespace

struct waiting_lines::sums {
    mutable std::mutex mutex;  // the total's; a line's sums are under their shard's lock
    line_stats counts;
    std::array<std::uint32_t, buckets> waits{};
    milliseconds longest{0};

    void add(end how, milliseconds wait) noexcept {
        switch (how) {
            case end::success:
                ++counts.success;
                ++waits[bucket_of(wait)];
                longest = std::max(longest, wait);
                break;
            case end::timeout:
                ++counts.timeout;
                break;
            case end::cancelled:
                ++counts.cancelled;
                break;
            case end::refused:
                ++counts.refused;
                break;
        }
    }

    [[nodiscard]] milliseconds quantile(std::uint64_t percent) const noexcept {
        std::uint64_t all = 0;
        for (const auto n : waits)
            all += n;
        if (all == 0) return 0ms;
        const std::uint64_t rank = (all * percent + 99) / 100;
        std::uint64_t below = 0;
        std::size_t at = 0;
        while ((below += waits[at]) < rank)
            ++at;
        return at + 1 == buckets ? longest : std::min(end_of(at), longest);
    }

    [[nodiscard]] line_stats read() const noexcept {
        line_stats out = counts;
        out.waiting =
            counts.entered - counts.success - counts.timeout - counts.cancelled - counts.refused;
        out.p50 = quantile(50);
        out.p90 = quantile(90);
        out.p99 = quantile(99);
        return out;
    }
};

struct waiting_lines::line {
    std::deque<std::shared_ptr<waiting>> places;
    sums stats;
    std::uint32_t freed = 0;
    std::size_t signs = 0;  // of slots that may be free, for who is first; not more than wait
    mono_time used{};
};

struct waiting_lines::shard {
    mutable std::mutex mutex;
    std::unordered_map<std::string, line> lines;

    line& find_or_make(const std::string& id, mono_time now) {
        if (lines.size() >= keys_per_shard && !lines.contains(id)) {
            // The one that nobody has waited in for longest is forgotten.
            auto oldest = lines.end();
            for (auto at = lines.begin(); at != lines.end(); ++at) {
                if (!at->second.places.empty()) continue;
                if (oldest == lines.end() || at->second.used < oldest->second.used) oldest = at;
            }
            if (oldest != lines.end()) lines.erase(oldest);
        }
        line& l = lines[id];
        l.used = now;
        return l;
    }
};

waiting_lines::waiting_lines(metrics::registry& registry)
    : registry_(registry),
      shards_(std::make_unique<std::array<shard, shard_count>>()),
      total_(std::make_unique<sums>()) {}
waiting_lines::~waiting_lines() = default;

waiting_lines::shard& waiting_lines::shard_of(std::string_view id) const noexcept {
    return (*shards_)[std::hash<std::string_view>()(id) % shard_count];
}

std::uint32_t waiting_lines::mark(std::string_view id) const noexcept {
    return marks_[std::hash<std::string_view>()(id) % mark_count].load();
}

bool waiting_lines::anyone_waits(const std::string& id) const {
    if (waiting_.load() == 0) return false;
    auto& s = shard_of(id);
    const std::lock_guard lock(s.mutex);
    const auto at = s.lines.find(id);
    return at != s.lines.end() && !at->second.places.empty();
}

void waiting_lines::count(std::string_view what, const std::string& id) {
    std::string name = "keywheel_queue_";
    name.append(what).append("_total");
    registry_
        .counter(name,
                 "Requests that waited for a slot of their access key, by what became "
                 "of them.",
                 {{"access_key", id}})
        .add();
}

std::optional<waiting_lines::place> waiting_lines::enter(const std::string& id, std::size_t size,
                                                         std::size_t all, std::uint32_t mark,
                                                         mono_time now,
                                                         std::function<void()> wake) {
    auto self = std::make_shared<waiting>();
    self->wake = std::move(wake);
    self->since = now;
    auto& s = shard_of(id);
    bool entered = false;
    {
        const std::lock_guard lock(s.mutex);
        line& l = s.find_or_make(id, now);
        // Counted before the line is looked at, so that of several at once none is too many. A line
        // grows no longer than what is still free: no access key can take all places of the
        // process.
        const std::size_t others = waiting_.fetch_add(1);
        entered = others < all && l.places.size() < std::min(size, all - others);
        if (entered) {
            if (l.places.empty()) ++lines_;
            l.places.push_back(self);
            // What was freed since then found nobody to tell.
            if (l.places.size() == 1) l.signs = this->mark(id) != mark ? 1 : 0;
            ++l.stats.counts.entered;
        } else {
            --waiting_;
            ++l.stats.counts.rejected;
        }
    }
    {
        const std::lock_guard lock(total_->mutex);
        ++(entered ? total_->counts.entered : total_->counts.rejected);
    }
    count(entered ? "entered" : "rejected", id);
    if (!entered) return std::nullopt;
    return place(*this, id, std::move(self));
}

void waiting_lines::freed(const std::string& id) {
    ++marks_[std::hash<std::string_view>()(id) % mark_count];
    if (waiting_.load() == 0) return;
    auto& s = shard_of(id);
    const std::lock_guard lock(s.mutex);
    const auto at = s.lines.find(id);
    if (at == s.lines.end() || at->second.places.empty()) return;
    line& l = at->second;
    if (replicas_.load() > 1 && ++l.freed % hand_overs == 0) return;
    l.signs = std::min(l.signs + 1, l.places.size());
    l.places.front()->wake();
}

void waiting_lines::leave(const std::string& id, const std::shared_ptr<waiting>& who, end how,
                          bool more_free, mono_time now) {
    const auto wait = std::chrono::duration_cast<milliseconds>(now - who->since);
    auto& s = shard_of(id);
    {
        const std::lock_guard lock(s.mutex);
        line& l = s.lines.find(id)->second;  // not forgotten while somebody is in it
        const auto at = std::find(l.places.begin(), l.places.end(), who);
        const bool was_first = at == l.places.begin();
        l.places.erase(at);
        --waiting_;
        l.used = now;
        l.stats.add(how, wait);
        if (l.places.empty()) {
            --lines_;
        } else if (was_first) {
            // A sign that the one who leaves did not use is for the next.
            if (more_free && l.signs == 0 && replicas_.load() == 1) l.signs = 1;
            l.places.front()->wake();
        }
    }
    {
        const std::lock_guard lock(total_->mutex);
        total_->add(how, wait);
    }
    constexpr std::string_view names[] = {"success", "timeout", "cancelled", "refused"};
    count(names[static_cast<std::size_t>(how)], id);
    if (how == end::success) {
        registry_
            .histogram("keywheel_queue_wait_seconds",
                       "How long requests waited that got a slot of their access key.",
                       metrics::latency_bounds(), {{"access_key", id}})
            .observe(std::chrono::duration<double>(now - who->since).count());
    }
}

milliseconds waiting_lines::poll_pause() const noexcept {
    const milliseconds least = replicas_.load() > 1 ? shared_pause : own_pause;
    return std::max<milliseconds>(least, pause_per_line * lines_.load());
}

milliseconds waiting_lines::likely_wait(const std::string& id) const {
    auto& s = shard_of(id);
    const std::lock_guard lock(s.mutex);
    const auto at = s.lines.find(id);
    const auto median = at == s.lines.end() ? 0ms : at->second.stats.quantile(50);
    return std::clamp<milliseconds>(median, 1s, 60s);
}

line_stats waiting_lines::total() const {
    const std::lock_guard lock(total_->mutex);
    return total_->read();
}

std::vector<std::pair<std::string, line_stats>> waiting_lines::by_key() const {
    std::vector<std::pair<std::string, line_stats>> out;
    for (const shard& s : *shards_) {
        const std::lock_guard lock(s.mutex);
        for (const auto& [id, l] : s.lines)
            out.emplace_back(id, l.stats.read());
    }
    std::ranges::sort(out, {}, &std::pair<std::string, line_stats>::first);
    return out;
}

waiting_lines::place::~place() {
    if (self_) leave(end::cancelled, false, self_->since);
}

waiting_lines::place::turn waiting_lines::place::look() {
    auto& s = of_->shard_of(id_);
    const std::lock_guard lock(s.mutex);
    line& l = s.lines.find(id_)->second;
    if (l.places.front() != self_) return turn::behind;
    if (l.signs == 0) return turn::first;
    --l.signs;
    return turn::now;
}

void waiting_lines::place::leave(end how, bool more_free, mono_time now) {
    if (const auto self = std::move(self_)) of_->leave(id_, self, how, more_free, now);
}

}  // namespace kw::auth
