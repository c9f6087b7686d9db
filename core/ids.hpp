// Identifiers: short, sortable by time, unguessable enough to be names (never to be secrets).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/clock.hpp"

namespace kw {

// Randomness, injected. One per thread: not thread-safe.
class random_source {
  public:
    // Seeds from the kernel.
    random_source();
    // A test's fixed sequence.
    explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}

    // SplitMix64: fast, not for secrets (those come from crypto::random_bytes).
    [[nodiscard]] std::uint64_t next() noexcept;
    // Uniform in [0, bound); bound > 0.
    [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept;

  private:
    std::uint64_t state_;
};

// prefix as it is ("req_") + 8 characters of time + 13 of randomness, base32 in lower case; sorts
// by time until 2059.
[[nodiscard]] std::string make_id(std::string_view prefix, wall_time now, random_source& random);

}  // namespace kw
