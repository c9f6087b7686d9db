// Steps that a Cluster refuses because their shard is on the way to another node, which takes as
// long as its keys are many. They keep their order: the first of a shard is tried now and then, and
// when it is taken all others follow. One thread.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>

#include "core/clock.hpp"
#include "store/redis/admission_wire.hpp"

namespace kw::store::redis {

class held_steps {
  public:
    // Steps that are not asked for their answer: what they count is kept until it is counted.
    [[nodiscard]] static bool can_hold(const step& s) noexcept;

    // Whether a step must wait behind others of its shard.
    [[nodiscard]] bool must_wait(const step& s) const noexcept;
    // Refused, or behind such: it takes the place that its turn gives it.
    void hold(step s, mono_time now);
    // Redis took this step: if it was the one that was tried, the others go to the front of `to`.
    void taken(const step& s, std::deque<step>& to);
    // The first of each shard whose time has come, to the front of `to`.
    void try_again(mono_time now, std::deque<step>& to);
    // All to the end of `to`.
    void give_back(std::deque<step>& to);

    // No shard is known to be moving. One may be while none of its steps is here: it is being
    // tried.
    [[nodiscard]] bool empty() const noexcept { return moving_ == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    // When the next is to be tried; max: there is none, or all are being tried.
    [[nodiscard]] mono_time next_try() const noexcept;

  private:
    static constexpr std::chrono::milliseconds first_wait{50};
    static constexpr std::chrono::milliseconds longest_wait{1'000};
    struct shard {
        std::deque<step> steps;
        std::uint64_t tried = 0;  // its turn, while it is under way
        mono_time until{};
        std::chrono::milliseconds wait{0};  // 0: this shard does not move, and holds nothing

        [[nodiscard]] bool moves() const noexcept { return wait.count() != 0; }
    };
    std::array<shard, step_places> shards_;
    std::size_t count_ = 0;
    std::size_t moving_ = 0;  // shards
};

}  // namespace kw::store::redis
