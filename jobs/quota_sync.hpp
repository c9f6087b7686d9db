// Asks providers that tell it what is left of each upstream key, and keeps what they said as
// records beside the keys, so that one replica's question serves all.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/ids.hpp"
#include "jobs/catalog.hpp"
#include "net/task.hpp"
#include "pool/key_state.hpp"
#include "pool/upstream_key.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// What a provider's answer says; what it does not tell is not there.
struct quota_reading {
    std::optional<double> allowance, used, remaining;
};
// errc::upstream_malformed: not JSON, or none of the three is a number where it should be.
[[nodiscard]] result<quota_reading> read_quota(std::string_view body, const pool::quota_source& by);

struct quota_settings {
    std::chrono::milliseconds interval{0};  // 0: only when asked for
    std::chrono::milliseconds jitter{0};    // at most so much later, by chance
    std::size_t parallel = 1;               // at most max_parallel
};

// Control thread. What it is made with outlives it.
class quota_sync {
  public:
    static constexpr std::size_t max_parallel = 16;
    // The body of a 200; errors say in a word what came instead.
    using caller = std::function<net::task<result<std::string>>(std::string key_id)>;

    quota_sync(store::store& store, const catalog& known, pool::state_table& states,
               const clock_source& clock, caller call, random_source random = {});

    // Every second or so: takes in what is known and asks where it is time to.
    void run_due(const quota_settings& settings);
    // Asks for all keys soon, whenever they were asked for last; for how many.
    std::size_t sync_all();
    // The key's reading as JSON, "" when there is none.
    [[nodiscard]] std::string describe(const std::string& key_id) const;

    struct told_quota {
        std::string key_id;
        double remaining = 0;
        double allowance = 0;
    };
    // Of the keys whose allowance is known, too.
    [[nodiscard]] std::vector<told_quota> told() const;

  private:
    struct known_reading {
        std::uint64_t revision = 0;
        std::int64_t at_ms = 0;
        std::optional<double> remaining;
        std::optional<double> allowance;
    };
    [[nodiscard]] const pool::quota_source* source_of(const pool::upstream_key& key) const;
    void take_in(const quota_settings& settings);
    void plan(const quota_settings& settings);
    void start(const quota_settings& settings);
    net::task<void> work(std::size_t place);
    void note(const std::string& key_id, const result<quota_reading>& got);

    store::store& store_;
    const catalog& catalog_;
    pool::state_table& states_;
    const clock_source& clock_;
    caller call_;
    random_source random_;
    std::map<std::string, known_reading, std::less<>> readings_;
    std::map<std::string, mono_time, std::less<>> due_;
    std::deque<std::string> queue_;
    std::set<std::string> queued_;
    std::array<net::owned_root, max_parallel> workers_;
    std::array<bool, max_parallel> busy_{};
};

}  // namespace kw::jobs
