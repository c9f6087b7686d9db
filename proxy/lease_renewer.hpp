// Keeps alive the leases of the exchanges that a worker runs, as long as they run.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "net/loop.hpp"
#include "net/task.hpp"
#include "store/admission.hpp"

namespace kw::proxy {

inline constexpr std::chrono::milliseconds lease_ttl{15'000};

// One per worker, on its loop's thread. The admission outlives it.
class lease_renewer {
  public:
    lease_renewer(net::loop& on, store::admission& with);
    lease_renewer(const lease_renewer&) = delete;
    lease_renewer& operator=(const lease_renewer&) = delete;

    void add(const store::lease_ref& lease);
    void remove(const std::string& ledger_id) noexcept;
    [[nodiscard]] store::admission& admission() noexcept { return admission_; }

  private:
    net::task<void> rounds();

    net::loop& loop_;
    store::admission& admission_;
    std::unordered_map<std::string, std::string> running_;  // ledger id, access key id
    net::owned_root root_;
};

}  // namespace kw::proxy
