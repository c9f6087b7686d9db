// Time, injected: production reads the system's clocks, tests move a manual one.
#pragma once

#include <chrono>

namespace kw {

// Wall time in UTC, for records, windows and what a person reads.
using wall_time = std::chrono::sys_time<std::chrono::nanoseconds>;
// Time that only goes forward, for deadlines, cooldowns inside a process, latencies.
using mono_time = std::chrono::steady_clock::time_point;

// Any thread may call both; implementations hold no lock.
class clock_source {
  public:
    virtual ~clock_source() = default;
    [[nodiscard]] virtual wall_time wall() const noexcept = 0;
    [[nodiscard]] virtual mono_time mono() const noexcept = 0;
};

class system_clock_source final : public clock_source {
  public:
    [[nodiscard]] wall_time wall() const noexcept override {
        return std::chrono::time_point_cast<std::chrono::nanoseconds>(
            std::chrono::system_clock::now());
    }
    [[nodiscard]] mono_time mono() const noexcept override {
        return std::chrono::steady_clock::now();
    }
};

// A test's clock: stands still until it is told to advance. Not for several threads at once.
class manual_clock final : public clock_source {
  public:
    [[nodiscard]] wall_time wall() const noexcept override { return wall_; }
    [[nodiscard]] mono_time mono() const noexcept override { return mono_; }
    void advance(std::chrono::nanoseconds by) noexcept {
        wall_ += by;
        mono_ += std::chrono::duration_cast<mono_time::duration>(by);
    }
    void set_wall(wall_time t) noexcept { wall_ = t; }

  private:
    wall_time wall_{std::chrono::seconds(1'767'225'600)};  // 2026-01-01T00:00:00Z
    mono_time mono_{std::chrono::seconds(1'000)};
};

[[nodiscard]] inline std::int64_t unix_ms(wall_time t) noexcept {
    return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
}

}  // namespace kw
