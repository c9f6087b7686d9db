// Delay of who guesses: a few tries are free, then each wrong one doubles the wait. Also the memory
// of what was refused, for people. Both are bounded.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/clock.hpp"

namespace kw::auth {

struct throttle_limits {
    std::uint32_t free_guesses = 5;
    std::chrono::milliseconds longest_delay = std::chrono::minutes(5);
    std::chrono::milliseconds forget_after = std::chrono::minutes(30);
    std::size_t max_entries = 4096;  // above that the oldest guess is forgotten
};

// One thread.
class throttle {
  public:
    explicit throttle(throttle_limits limits = {}) noexcept : limits_(limits) {}

    // How long this one has to wait before it may try; 0: not at all.
    [[nodiscard]] std::chrono::milliseconds wait(std::string_view who, mono_time now);
    // A wrong guess, or one whose answer is not known yet; the delay that it brings.
    std::chrono::milliseconds wrong(std::string_view who, mono_time now);
    void right(std::string_view who);
    // The last wrong() was none: it was not even looked at.
    void undo(std::string_view who);
    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

  private:
    struct entry {
        std::uint32_t count = 0;
        mono_time last{};
        mono_time blocked_until{};
    };
    void make_room(mono_time now);

    throttle_limits limits_;
    std::unordered_map<std::string, entry> entries_;
};

// What was refused, counted by where it came from and what was presented. One thread.
class refusal_book {
  public:
    static constexpr std::size_t max_entries = 1024;  // above that the longest ago is forgotten

    struct entry {
        std::uint64_t count = 0;
        wall_time first{};
        wall_time last{};
    };
    // key: not the credential, but what tells it from others.
    void note(std::string_view source, std::string_view key, wall_time now);
    using place = std::pair<std::string, std::string>;  // source, key
    [[nodiscard]] const std::map<place, entry>& all() const noexcept { return entries_; }

  private:
    std::map<place, entry> entries_;
};

}  // namespace kw::auth
