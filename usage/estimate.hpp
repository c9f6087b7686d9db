// Token counts for exchanges whose answer did not tell them, and the rule that decides which
// counts a record gets.
#pragma once

#include <cstdint>

#include "store/types.hpp"
#include "usage/scanner.hpp"

namespace kw::usage {

// About a token for four bytes, rounded up; capped, so that a body full of base64 images does not
// become a fortune.
inline constexpr std::int64_t max_estimated_tokens = 2'000'000;
[[nodiscard]] std::int64_t estimate_tokens(std::int64_t bytes) noexcept;

struct settled {
    store::token_counts tokens;
    store::usage_outcome outcome = store::usage_outcome::none;
};

// What to book for one try.
//   answered: the upstream answered 2xx (or may have begun to generate before it was cut);
//   billable: the endpoint is one that counts tokens.
// Final counts: exact. Cut before them: what is known (Anthropic's input), the rest estimated from
// the request's bytes and the text seen. A finished answer that never tells usage (a speech
// answer, a server without usage): estimated if there was generated text, else none.
[[nodiscard]] settled settle(const scan_result& scan, std::int64_t request_bytes, bool answered,
                             bool billable) noexcept;

}  // namespace kw::usage
