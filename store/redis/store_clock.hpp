// Redis' clock: ours since the start, moved to where Redis' was when it was last asked. Any thread.
#pragma once

#include <atomic>
#include <chrono>

#include "core/clock.hpp"
#include "store/admission.hpp"

namespace kw::store::redis {

class store_clock final : public clock_source {
  public:
    store_clock(const clock_source& ours, const admission_options& options)
        : ours_(ours), fixed_ms_(options.fixed_time_ms) {
        told(unix_ms(ours.wall()), std::chrono::milliseconds(0));
    }
    void told(std::int64_t ms, mono_time::duration ago) noexcept {
        const auto at = std::chrono::milliseconds(ms) - (mono() - ago).time_since_epoch();
        ahead_.store(std::chrono::nanoseconds(at).count());
    }
    [[nodiscard]] wall_time wall() const noexcept override {
        if (fixed_ms_ != nullptr) return wall_time(std::chrono::milliseconds(fixed_ms_->load()));
        return wall_time(mono().time_since_epoch() + std::chrono::nanoseconds(ahead_.load()));
    }
    [[nodiscard]] mono_time mono() const noexcept override { return ours_.mono(); }

  private:
    const clock_source& ours_;
    const std::atomic<std::int64_t>* const fixed_ms_;
    std::atomic<std::int64_t> ahead_{0};
};

}  // namespace kw::store::redis
