// How far the limits of access keys are used, as operators and holders see it: the same numbers
// that admission refuses on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "auth/access_key.hpp"
#include "core/json_writer.hpp"
#include "store/admission.hpp"

namespace kw::admin {

// By id, of those keys that have limits. Waits for the answer, for a second at most; then empty.
// Not from a worker.
using usage_by_key = std::map<std::string, store::usage_answer, std::less<>>;
[[nodiscard]] usage_by_key peek_now(store::admission& at,
                                    const std::vector<const auth::access_key*>& keys);

// One entry for each limit, in the order of the key's `limits`: the limit, and beside it "used",
// "remaining", "reset_in_seconds"; null where the store is away.
void write_limit_usage(json_writer& w, const auth::key_limits& limits,
                       const store::usage_answer& usage);

}  // namespace kw::admin
