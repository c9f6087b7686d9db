// The check of x-admin-key in front of every admin route: constant time, and slower with every
// wrong guess.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "auth/throttle.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"

namespace kw::auth {

enum class admin_verdict : std::uint8_t {
    allowed,
    disabled,  // no admin secret is set: there is no admin API
    missing,   // no secret was presented: not counted as a guess
    wrong,
    wait,  // too many wrong guesses from this source; not even compared
};

// Owned by the control thread, which answers admin requests; not thread-safe.
class admin_guard {
  public:
    static constexpr std::size_t min_secret = 16;
    static constexpr std::uint32_t free_guesses = 5;
    static constexpr std::size_t max_sources = 4096;  // above that the oldest guess is forgotten
    static constexpr auto longest_delay = std::chrono::minutes(5);
    static constexpr auto forget_after = std::chrono::minutes(30);

    // An empty secret disables. errc::invalid_argument: shorter than min_secret although the
    // listener can be reached from other machines.
    [[nodiscard]] static result<admin_guard> make(secret admin_secret, bool loopback_only);

    struct answer {
        admin_verdict verdict = admin_verdict::disabled;
        std::chrono::milliseconds retry_after{0};  // with `wait`, and with `wrong` if one begins
    };
    // source: the client's address without its port.
    [[nodiscard]] answer check(std::string_view presented_secret, std::string_view source,
                               mono_time now);

    [[nodiscard]] bool enabled() const noexcept { return !secret_.empty(); }
    [[nodiscard]] std::size_t sources() const noexcept { return guesses_.size(); }
    // By source; other credentials of admins are counted here too.
    [[nodiscard]] throttle& guesses() noexcept { return guesses_; }

  private:
    explicit admin_guard(secret s) noexcept : secret_(std::move(s)) {}

    secret secret_;
    throttle guesses_{{free_guesses, longest_delay, forget_after, max_sources}};
};

}  // namespace kw::auth
