// Keeps alive the leases of the exchanges that a worker runs, as long as they run.
#pragma once

#include <boost/intrusive/list.hpp>

#include "net/loop.hpp"
#include "net/task.hpp"
#include "store/admission.hpp"

namespace kw::proxy {

inline constexpr std::chrono::milliseconds lease_ttl{15'000};

// That the lease of an admitted request is to be kept. A member of who runs the request; ends with
// release() or with the object.
class kept_lease : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    explicit kept_lease(const store::admit_request& of) noexcept : of_(of) {}
    void release() noexcept { unlink(); }

  private:
    friend class lease_renewer;
    const store::admit_request& of_;  // outlives this
};

// One per worker, on its loop's thread. The admission outlives it.
class lease_renewer {
  public:
    lease_renewer(net::loop& on, store::admission& with);
    lease_renewer(const lease_renewer&) = delete;
    lease_renewer& operator=(const lease_renewer&) = delete;

    void keep(kept_lease& lease) noexcept { running_.push_back(lease); }
    [[nodiscard]] store::admission& admission() noexcept { return admission_; }

  private:
    net::task<void> rounds();

    net::loop& loop_;
    store::admission& admission_;
    boost::intrusive::list<kept_lease, boost::intrusive::constant_time_size<false>> running_;
    net::owned_root root_;
};

}  // namespace kw::proxy
