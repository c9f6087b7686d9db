// What one access key has used and what of it is under way: the meaning of admission, without a
// clock or a lock of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/admission.hpp"
#include "store/embedded/limit_counter.hpp"

namespace kw::store::embedded {

// Milliseconds.
struct keeping {
    std::int64_t settled = 0;
    std::int64_t expired = 0;
};

// Times are milliseconds since the epoch. A time up to a minute before the last admission counts as
// that; an earlier one means that the clock was set, and windows begin anew.
class key_usage {
  public:
    [[nodiscard]] admit_answer admit(std::int64_t now, const admit_request& request,
                                     const keeping& keep);
    void settle(std::int64_t now, const std::string& id, const amounts& real, const keeping& keep);
    void release(std::int64_t now, const std::string& id, const keeping& keep);
    void renew(std::int64_t now, const std::string& id, std::int64_t ttl, const keeping& keep);
    [[nodiscard]] usage_answer peek(std::int64_t now, const limit_set& limits, const keeping& keep);
    void preload(std::int64_t now, const limit& budget, std::int64_t used);
    // Looks at a bounded number of what is due; false if there is more.
    bool sweep(std::int64_t now, const keeping& keep);
    // Nothing is under way and nothing counts.
    [[nodiscard]] bool empty(std::int64_t now);

  private:
    enum class phase : std::uint8_t { running, released, expired, settled, counted };
    struct entry {
        std::int64_t admitted = 0;
        std::int64_t due = 0;    // the lease's end; or, in the last three phases, when to forget it
        std::uint64_t turn = 0;  // of its last place in over_
        std::uint64_t counters = 0;  // a bit for each in which the reservation lies
        amounts reserved;
        phase is = phase::running;
        bool bounded = true;
        bool was_released = false;

        // Nothing is left to do but to forget it.
        [[nodiscard]] bool over() const noexcept {
            return is == phase::settled || is == phase::counted;
        }
    };
    using entries = std::unordered_map<std::string, entry>;
    using node = entries::value_type;

    [[nodiscard]] std::int64_t since_last(std::int64_t now) noexcept;
    [[nodiscard]] limit_counter* find(const std::string& name) noexcept;
    // Makes it if there is none; `wanted` are those that must stay.
    limit_counter& counter_of(const limit& l, const std::string& name, const limit_set& wanted);
    [[nodiscard]] std::vector<limit_state> states(std::int64_t now, const limit_set& limits);
    // Why the request does not pass; `is` is admitted if it does.
    [[nodiscard]] admit_answer check(std::int64_t now, const admit_request& request);
    void begin(entry& e) noexcept;
    void end(entry& e, phase next) noexcept;
    // Known, and not to be forgotten yet.
    [[nodiscard]] node* find_entry(const std::string& id, std::int64_t now) noexcept;
    void set_due(node& n, std::int64_t due);
    // Of one that is over and stands in no other order.
    void forget_at(node& n, std::int64_t due);

    std::int64_t last_ = 0;  // of the last admission
    std::int64_t leases_ = 0;
    std::int64_t unbounded_ = 0;  // running or released, not settled
    std::vector<limit_counter> counters_;
    entries entries_;
    std::set<std::pair<std::int64_t, node*>> due_;  // those that are not over
    // Those that are, in the order in which they became so. One that was kept for longer has more
    // than one place; the last is its own, and nothing else takes it out of entries_.
    struct ended {
        std::int64_t due;
        std::uint64_t turn;
        node* of;
    };
    std::deque<ended> over_;
    std::uint64_t turns_ = 0;
};

}  // namespace kw::store::embedded
