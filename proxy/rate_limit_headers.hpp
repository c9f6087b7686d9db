// What a client is told of its access key's limits: headers with every answer, a sentence with a
// refusal.
#pragma once

#include <span>
#include <string>

#include "core/error.hpp"
#include "store/admission.hpp"
#include "store/limits.hpp"

namespace kw::proxy {

// x-ratelimit-{limit,remaining,reset}-{requests,tokens} as OpenAI sends them, each for the limit of
// that unit which is nearest to its end; whole header lines. `states` as in admit_answer.
[[nodiscard]] std::string make_rate_limit_lines(std::span<const store::limit> limits,
                                                std::span<const store::limit_state> states);

// "The access key's limit of 100 requests per 60 s is used up: 100 of 100, free again in 12 s."
[[nodiscard]] std::string describe_refusal(const store::limit& limit,
                                           const store::limit_state& state);
// The refusal as an error with that text.
[[nodiscard]] error limit_error(const store::limit& limit, const store::limit_state& state);
// The store is away, and the policy is to refuse.
[[nodiscard]] error unknown_limits();

}  // namespace kw::proxy
