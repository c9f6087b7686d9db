// Tells the admission what budgets had used before it began to count: after a start of the embedded
// store, or when an access key is given a budget in the middle of its period.
#pragma once

#include <set>
#include <string>
#include <utility>

#include "auth/access_key.hpp"
#include "core/clock.hpp"
#include "store/admission.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// Control thread. What it refers to outlives it.
class budget_loader {
  public:
    budget_loader(store::store& books, store::admission& into, const clock_source& clock)
        : books_(books), into_(into), clock_(clock) {}

    // Each budget once. False: the store is away, call again.
    bool load(const auth::access_key& key);

  private:
    // What the books' sums say of the current period. Requests that failed are not counted.
    result<std::int64_t> used(const std::string& access_key_id, const store::limit& budget);

    store::store& books_;
    store::admission& into_;
    const clock_source& clock_;
    std::set<std::pair<std::string, std::string>> loaded_;  // access key id, cell name
};

}  // namespace kw::jobs
