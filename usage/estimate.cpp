// Counts that nobody told.
#include "usage/estimate.hpp"

#include <algorithm>

namespace kw::usage {

std::int64_t estimate_tokens(std::int64_t bytes) noexcept {
    if (bytes <= 0) return 0;
    return std::min(bytes / 4 + (bytes % 4 != 0 ? 1 : 0), max_estimated_tokens);
}

settled settle(const scan_result& scan, std::int64_t request_bytes, bool answered,
               bool billable) noexcept {
    settled s;
    s.tokens = scan.tokens;
    if (scan.found) {
        s.outcome = store::usage_outcome::exact;
        return s;
    }
    const bool generated = scan.output_chars > 0 || scan.partial;
    if (!billable || !answered || (scan.finished && !generated)) {
        s.tokens = {};
        return s;
    }
    s.outcome = store::usage_outcome::estimated;
    if (s.tokens.input == 0) s.tokens.input = estimate_tokens(request_bytes);
    s.tokens.output = std::max(s.tokens.output, estimate_tokens(scan.output_chars));
    return s;
}

}  // namespace kw::usage
