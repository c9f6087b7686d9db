// What a replica may let through while Redis is away: for each limit what remained when an access
// key was last decided by Redis, divided by the replicas that were alive; for an access key not
// seen before, its cap divided likewise. Any thread; never waits.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "store/admission.hpp"

namespace kw::store::redis {

class local_share {
  public:
    // The clock's wall() is Redis' time, as well as it is known.
    local_share(const admission_options& options, const clock_source& clock);

    // `rank`: of this replica, from 0: what a division leaves goes to the first ones.
    void set_replicas(std::uint64_t count, std::uint64_t rank);
    void saw(const std::string& access_key_id, const std::shared_ptr<const limit_set>& limits,
             const std::vector<limit_state>& states);
    // Redis is back, and is told what was let through here.
    void start_anew();
    // Something was let through here since: who gives it back must say so here, too.
    [[nodiscard]] bool in_use() const noexcept { return in_use_.load(std::memory_order_relaxed); }

    [[nodiscard]] admit_answer admit(const admit_request& request);
    void settle(const lease_ref& which, const amounts& real);
    void release(const lease_ref& which);
    void renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl);
    // What was last seen.
    [[nodiscard]] usage_answer peek(const usage_question& question) const;

  private:
    struct seen {
        std::int64_t at = 0;  // milliseconds
        std::shared_ptr<const limit_set> limits;
        std::vector<std::int64_t> used;
    };
    [[nodiscard]] std::vector<std::int64_t> caps(const admit_request& request) const;
    [[nodiscard]] std::shared_ptr<admission> engine() const;

    const admission_options options_;
    const clock_source& clock_;
    mutable std::mutex mutex_;
    std::uint64_t replicas_ = 1;
    std::uint64_t rank_ = 0;
    std::unordered_map<std::string, seen> seen_;
    std::shared_ptr<admission> engine_;
    std::atomic<bool> in_use_{false};
};

}  // namespace kw::store::redis
