// How far the limits of access keys are used, as operators and holders see it: the same numbers
// that admission refuses on.
#pragma once

#include <vector>

#include "auth/key_limits.hpp"
#include "core/json_writer.hpp"
#include "store/admission.hpp"

namespace kw::admin {

// Waits for the answer, for a second at most; then empty. Not from a worker.
[[nodiscard]] std::vector<store::usage_answer> peek_now(
    store::admission& at, const std::vector<store::usage_question>& questions);

// One entry for each limit, in the order of the key's `limits`: the limit, and beside it "used",
// "remaining", "reset_in_seconds"; null where the store is away.
void write_limit_usage(json_writer& w, const auth::key_limits& limits,
                       const store::usage_answer& usage);

}  // namespace kw::admin
