// Tests of upstream keys that a person asks for: what a test tells, and who does them. The words
// that the admin API and the job behind it share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "pool/health.hpp"

namespace kw::pool {

struct key_test {
    probe_outcome outcome = probe_outcome::inconclusive;
    int status = 0;                   // the upstream's answer; 0: there was none
    errc failure = errc::ok;          // why there was none
    std::optional<key_status> after;  // of the key, with the test; none: it is not in the pool
};

// How far a test of many keys is. tested = success + failed + inconclusive.
struct test_progress {
    std::string id;  // "task_…"
    wall_time started{};
    std::optional<wall_time> ended = {};
    std::size_t total = 0;
    std::size_t tested = 0;
    std::size_t success = 0;
    std::size_t failed = 0;
    std::size_t inconclusive = 0;
    std::size_t banned = 0;    // of the failed: served before, and do so no more
    std::size_t withheld = 0;  // of the failed: not believed, as no key of their host passed
};

// Control thread.
class key_tests {
  public:
    virtual ~key_tests() = default;
    // `done` is called once, now or later; not if the process ends before.
    virtual void test(std::string key_id, std::function<void(const key_test&)> done) = 0;
    // Begins a task; while one runs, tells of that one instead.
    virtual test_progress test_all(std::vector<std::string> key_ids) = 0;
    // Of the task that runs and of the last that ended, the oldest first.
    [[nodiscard]] virtual std::vector<test_progress> tasks() const = 0;
    [[nodiscard]] virtual std::optional<test_progress> task(std::string_view id) const = 0;
};

}  // namespace kw::pool
