// The limits of one access key as plain data: windows, budgets, concurrency; and their periods.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::store {

enum class limit_kind : std::uint8_t {
    budget,       // of a calendar period, or of all time
    fixed,        // a window that begins with the first request after the one before ended
    sliding,      // the trailing window, in 60 parts: never more than the cap in any such length
    concurrency,  // leases at the same time
};
enum class limit_unit : std::uint8_t { requests, tokens, cost };      // cost in nano-dollars
enum class budget_period : std::uint8_t { day, week, month, total };  // weeks begin on Monday

// A request passes while what is used and reserved is below the cap, so the last one that passes
// may go over it by its own size; with units of 1 (requests, leases) the cap is exact.
struct limit {
    limit_kind kind = limit_kind::sliding;
    limit_unit unit = limit_unit::requests;  // requests for concurrency
    std::int64_t cap = 0;
    std::chrono::milliseconds length{60'000};     // windows
    budget_period period = budget_period::total;  // budgets
    std::chrono::minutes utc_offset{0};           // budgets: local time less UTC

    friend bool operator==(const limit&, const limit&) = default;
};

// "sliding", "requests", "month", …
[[nodiscard]] std::string_view to_string(limit_kind kind) noexcept;
[[nodiscard]] std::string_view to_string(limit_unit unit) noexcept;
[[nodiscard]] std::string_view to_string(budget_period period) noexcept;
// For a person: "1000 requests per 60 s", "12.5 USD a month", "10 requests at a time".
[[nodiscard]] std::string describe(const limit& l);

// What is counted under this name goes on being counted when the cap is edited.
[[nodiscard]] std::string cell_name(const limit& l);

// Milliseconds since the epoch. total: {0, 0}, which never ends.
struct period_bounds {
    std::int64_t begin = 0;
    std::int64_t end = 0;
};
[[nodiscard]] period_bounds bounds_of(const limit& budget, std::int64_t now_ms) noexcept;

// A sliding window's part: 60 parts before the current one are counted, and the current one.
inline constexpr std::int64_t window_parts = 60;
[[nodiscard]] constexpr std::int64_t part_ms(std::chrono::milliseconds length) noexcept {
    return (length.count() + window_parts - 1) / window_parts;
}

inline constexpr std::size_t max_limits = 24;
inline constexpr std::chrono::milliseconds min_window{1'000};
inline constexpr std::chrono::milliseconds max_window{400LL * 24 * 3'600'000};

// The limits of an access key in the order in which they are asked: budgets, windows, concurrency;
// so an access key that waiting cannot help is told so. Immutable; shared by any threads.
class limit_set {
  public:
    // Of several that count the same, the lowest cap stays. errc::invalid_argument: a cap below 1,
    // a length or an offset out of range, too many.
    [[nodiscard]] static result<std::shared_ptr<const limit_set>> make(std::vector<limit> limits);

    // The same with other caps, in the same order; a cap of 0 lets nothing through.
    [[nodiscard]] std::shared_ptr<const limit_set> with_caps(
        const std::vector<std::int64_t>& caps) const;

    [[nodiscard]] const std::vector<limit>& items() const noexcept { return items_; }
    [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }
    // Requests are all that counts: an admission holds no lease, and its outcome changes nothing
    // but by being taken back.
    [[nodiscard]] bool counts_only() const noexcept { return counts_only_; }
    // How long after the last request something of it still counts; -1: for ever.
    [[nodiscard]] std::int64_t keep_ms() const noexcept { return keep_ms_; }

  private:
    limit_set() = default;
    std::vector<limit> items_;
    std::vector<std::string> names_;
    std::int64_t keep_ms_ = 0;
    bool counts_only_ = true;
};

}  // namespace kw::store
