// What one limit has counted: a trailing window, a fixed one, or a budget of a period. No clock, no
// lock: the owner gives the time, in milliseconds since the epoch; additions never go back in it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "store/limits.hpp"

namespace kw::store::embedded {

class limit_counter {
  public:
    limit_counter(const limit& of, std::string name);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] limit_unit unit() const noexcept { return of_.unit; }
    [[nodiscard]] bool is_window() const noexcept { return of_.kind != limit_kind::budget; }

    // Whether something was counted in the current window or period, be it 0.
    [[nodiscard]] bool counts(std::int64_t now) const noexcept;
    [[nodiscard]] std::int64_t used(std::int64_t now) const noexcept;
    void add(std::int64_t now, std::int64_t amount) noexcept;
    // Adds to the part, window or period in which `at` fell, if that still counts.
    void correct(std::int64_t at, std::int64_t difference) noexcept;
    // Begins the current period with `amount`; budgets only.
    void preload(std::int64_t now, std::int64_t amount) noexcept;
    void clear() noexcept;

    // Milliseconds until nothing counts any more; 0: nothing does, or it never ends.
    [[nodiscard]] std::int64_t reset_in(std::int64_t now) const noexcept;
    // Milliseconds until less than `cap` is used if nothing comes; 0: never.
    [[nodiscard]] std::int64_t retry_in(std::int64_t now, std::int64_t cap) const noexcept;
    // Whether it can be thrown away.
    [[nodiscard]] bool spent(std::int64_t now) const noexcept;

  private:
    static constexpr std::int64_t ring_size = window_parts + 1;
    [[nodiscard]] std::int64_t& part(std::int64_t index) const noexcept {
        return (*ring_)[static_cast<std::size_t>((index + ring_size) % ring_size)];
    }
    void start(std::int64_t now) noexcept;

    limit of_;
    std::string name_;
    std::int64_t used_ = 0;
    bool begun_ = false;
    // Sliding: the ring holds the parts head_ - 60 … head_, the youngest that was added to.
    std::int64_t part_ms_ = 1;
    std::int64_t head_ = 0;
    std::unique_ptr<std::array<std::int64_t, ring_size>> ring_;
    // Fixed and budget: the window or period that used_ belongs to.
    std::int64_t begin_ = 0;
    std::int64_t end_ = 0;
};

}  // namespace kw::store::embedded
