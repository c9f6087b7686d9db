// Tests of upstream keys that a person asks for: one, or all in a task that goes on by itself.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "jobs/prober.hpp"
#include "net/task.hpp"
#include "pool/key_test.hpp"

namespace kw::jobs {

// Control thread. Its answers change what pool::health knows of a key as those of the prober do;
// an inconclusive one changes nothing at all. When several keys of a host fail and none passes, the
// failure is taken for the host's: a provider that refuses everybody must not empty the pool.
class key_tester final : public pool::key_tests {
  public:
    static constexpr std::size_t parallel = 16;  // tests of a task at once
    static constexpr std::size_t kept = 16;      // tasks that can be asked for

    // All of it outlives the tester.
    key_tester(pool::health& health, pool::state_table& states, const clock_source& clock,
               probe_finder find, probe_call call, random_source random = {});
    ~key_tester() override;

    void test(std::string key_id, std::function<void(const pool::key_test&)> done) override;
    pool::test_progress test_all(std::vector<std::string> key_ids) override;
    [[nodiscard]] std::vector<pool::test_progress> tasks() const override;
    [[nodiscard]] std::optional<pool::test_progress> task(std::string_view id) const override;

  private:
    struct run;
    net::task<probe_answer> ask(std::string key_id);
    net::task<void> test_one(std::string key_id, std::function<void(const pool::key_test&)> done);
    net::task<void> work(std::shared_ptr<run> r);
    void count(run& r, const std::string& key_id, const probe_answer& answer);
    void take_out(run& r, pool::slot_id slot);
    void finish(run& r);
    void tell(pool::slot_id slot, pool::probe_outcome outcome);

    pool::health& health_;
    pool::state_table& states_;
    const clock_source& clock_;
    probe_finder find_;
    probe_call call_;
    random_source random_;
    std::deque<std::shared_ptr<run>> runs_;  // the newest last
    std::array<net::owned_root, parallel> workers_;
};

}  // namespace kw::jobs
