// The board of one process, in memory. `redis/cap_script.hpp` says the same.
#include "store/caps.hpp"

#include <algorithm>
#include <map>

namespace kw::store {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t bucket_ms = 5'000;
constexpr std::int64_t buckets = 13;  // a minute and the one that has begun
constexpr std::int64_t day_ms = 86'400'000;
constexpr std::int64_t contest_ms = 2'000;

struct board_cap {
    std::map<std::string, std::int64_t> held;   // by replica
    std::map<std::int64_t, std::int64_t> used;  // by bucket or day
};

class embedded_caps final : public cap_board {
  public:
    explicit embedded_caps(const clock_source& clock) : clock_(clock) {}

    result<cap_answers> ask(const std::string& replica, milliseconds lease,
                            const std::vector<cap_ask>& asks) override {
        const auto now = unix_ms(clock_.wall());
        cap_answers out;
        std::erase_if(live_, [&](const auto& r) { return r.second <= now; });
        out.joined = !live_.contains(replica);
        live_[replica] = now + lease.count();
        out.replicas = static_cast<std::uint32_t>(live_.size());
        out.rank = static_cast<std::uint32_t>(std::distance(live_.begin(), live_.find(replica)));
        std::erase_if(contests_, [&](const auto& c) { return c.second <= now - contest_ms; });
        for (const auto& [what, at] : contests_)
            if (what.first != replica) out.contested.push_back(what.second);
        for (const auto& a : asks)
            out.items.push_back(answer(a, replica, now));
        return out;
    }

    void leave(const std::string& replica) override { live_.erase(replica); }

  private:
    cap_answer answer(const cap_ask& a, const std::string& replica, std::int64_t now) {
        board_cap& c = caps_[{a.key, a.unit}];
        const bool timed = a.unit != cap_unit::concurrent;
        const bool daily = a.unit == cap_unit::tokens_a_day;
        const auto bucket = now / (daily ? day_ms : bucket_ms);
        std::int64_t used = a.used;
        std::int64_t others = 0;
        for (auto at = c.held.begin(); at != c.held.end();) {
            const bool alive = live_.contains(at->first);
            if (alive && at->first != replica) others += at->second;
            if (!alive && timed) used += std::max<std::int64_t>(at->second, 0);
            at = alive ? std::next(at) : c.held.erase(at);
        }
        if (timed) {
            std::erase_if(c.used,
                          [&](const auto& u) { return u.first <= bucket - (daily ? 1 : buckets); });
            if (daily && c.used.empty()) used += a.day_start;
            c.used[bucket] += used;
            used = 0;
            for (const auto& [when, amount] : c.used)
                used += amount;
        }
        const auto room = a.cap - std::max<std::int64_t>(used, 0) - others;
        cap_answer out;
        out.held = std::max({std::min(a.want, room), a.in_use, std::int64_t{0}});
        out.free = std::max<std::int64_t>(room - out.held, 0);
        c.held[replica] = out.held;
        if (a.short_of) contests_[{replica, {a.key, a.unit}}] = now;
        return out;
    }

    const clock_source& clock_;
    std::map<std::string, std::int64_t> live_;  // replica → end of its lease
    std::map<std::pair<std::string, cap_unit>, board_cap> caps_;
    std::map<std::pair<std::string, std::pair<std::string, cap_unit>>, std::int64_t> contests_;
};

}  // namespace

std::unique_ptr<cap_board> make_embedded_caps(const clock_source& clock) {
    return std::make_unique<embedded_caps>(clock);
}

}  // namespace kw::store
