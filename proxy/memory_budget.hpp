// A bound on the memory that many connections hold together, and how they wait for a share of it.
//
// Memory is asked for in growing steps, so that whoever sends slowly holds little. That can leave
// the whole budget with halves that all want more. Hence a quarter of it is held back for small
// wants and for the one connection of the process that has the pass: what fits into that quarter
// comes to its end.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "core/clock.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::proxy {

// Of all workers; any thread.
class memory_budget {
  public:
    memory_budget() noexcept = default;  // without room until set_limit()
    explicit memory_budget(std::size_t limit) noexcept { set_limit(limit); }

    void set_limit(std::size_t bytes) noexcept {
        limit_.store(static_cast<std::int64_t>(bytes), std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t limit() const noexcept {
        return limit_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t used() const noexcept {
        return used_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] std::int64_t waiting() const noexcept {
        return waiting_.load(std::memory_order_relaxed);
    }
    [[nodiscard]] bool full() const noexcept { return used() >= limit(); }

  private:
    friend class memory_share;
    friend class memory_queue;

    // All or nothing.
    bool take(std::int64_t bytes, std::int64_t below) noexcept;
    [[nodiscard]] std::int64_t common() const noexcept { return limit() - limit() / 4; }

    std::atomic<std::int64_t> used_{0};
    std::atomic<std::int64_t> counted_{0};  // part of used_, without having been granted
    std::atomic<std::int64_t> limit_{0};
    std::atomic<std::int64_t> waiting_{0};
    std::atomic<bool> pass_{false};
};

// One worker's line before one budget, first come first served; its loop's thread.
class memory_queue {
  public:
    explicit memory_queue(memory_budget& of) noexcept : budget_(of) {}
    memory_queue(const memory_queue&) = delete;
    memory_queue& operator=(const memory_queue&) = delete;

    [[nodiscard]] memory_budget& budget() noexcept { return budget_; }

  private:
    friend class memory_share;
    class place;

    memory_budget& budget_;
    std::deque<net::waiter*> line_;
};

enum class memory_answer : std::uint8_t { granted, too_late, given_up };

// What one connection holds of a budget, given back when it goes; its loop's thread.
class memory_share {
  public:
    explicit memory_share(memory_queue& in) noexcept : queue_(in) {}
    memory_share(const memory_share&) = delete;
    memory_share& operator=(const memory_share&) = delete;
    ~memory_share() {
        count(0);
        release();
    }

    [[nodiscard]] memory_budget& budget() noexcept { return queue_.budget_; }
    [[nodiscard]] std::int64_t held() const noexcept { return held_; }

    // Without waiting, and never past those that wait.
    [[nodiscard]] bool try_grow(std::size_t bytes) noexcept;
    // Waits on w, which also ends with the bits of give_up.
    [[nodiscard]] net::task<memory_answer> grow(net::waiter& w, std::size_t bytes,
                                                mono_time deadline, net::events give_up);
    // Beside what was granted, so much is there already, whatever the limit says. It leaves less to
    // be granted, but does not stop the one with the pass.
    void count(std::size_t bytes) noexcept;
    // For now no more comes of what the memory is for: others may have the pass.
    void give_pass() noexcept;
    [[nodiscard]] bool has_pass() const noexcept { return pass_; }
    // What was granted; the pass too.
    void release() noexcept;

  private:
    [[nodiscard]] bool take(std::int64_t bytes, bool in_turn) noexcept;

    memory_queue& queue_;
    std::int64_t held_ = 0;
    std::int64_t counted_ = 0;
    bool pass_ = false;
};

}  // namespace kw::proxy
