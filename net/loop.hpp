// One thread's event loop, and the one thing a coroutine waits on.
//
// A loop is an epoll instance that knows each descriptor once, edge-triggered, from creation to
// close: waiting costs no system call (why not a library's reactor: docs/adr/0002). A coroutine
// owns a `waiter`; descriptors, a deadline and other code of the same thread set bits in it; wait()
// sleeps until a bit that it asks for is set. So one coroutine can watch both sides of a relay.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/clock.hpp"

namespace kw::net {

class loop;
class waiter;

inline constexpr mono_time no_deadline = mono_time::max();

// Bits of readiness in a waiter. The first four are by custom the client's side and the upstream's.
using events = std::uint32_t;
inline constexpr events read_a = 1U << 0;
inline constexpr events write_a = 1U << 1;
inline constexpr events read_b = 1U << 2;
inline constexpr events write_b = 1U << 3;
inline constexpr events woken = 1U << 4;     // waiter::wake(), meaning given by the owner
inline constexpr events stopping = 1U << 5;  // the owner's own use, e.g. a graceful stop
inline constexpr events hangup_a = 1U << 6;  // the peer closed: told apart from mere data
inline constexpr events hangup_b = 1U << 7;
inline constexpr events timed_out = 1U << 31;

// A file descriptor registered with a loop. Closes on destruction. Same thread as its loop.
// Readiness is remembered: it stays until the code that got EAGAIN (or a short read) clears it.
class descriptor {
  public:
    // Takes ownership of a non-blocking fd; throws std::system_error if epoll refuses it.
    descriptor(loop& on, int fd);
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor();

    [[nodiscard]] int fd() const noexcept { return fd_; }
    [[nodiscard]] loop& owner() const noexcept { return loop_; }

    // From now on readiness goes to `to` as the bits given, that which is pending included; nullptr
    // detaches (readiness is then only remembered).
    // hangup_bit is set when the peer closed or the connection broke, unread data or not.
    void attach(waiter* to, events read_bit, events write_bit, events hangup_bit = 0) noexcept;

    [[nodiscard]] events read_bit() const noexcept { return read_bit_; }
    [[nodiscard]] events write_bit() const noexcept { return write_bit_; }

    // Called while nobody is attached and the peer sends or closes: an idle connection is of no use
    // then. May destroy the descriptor.
    std::function<void()> on_idle_event;

    [[nodiscard]] bool read_ready() const noexcept { return read_ready_; }
    [[nodiscard]] bool write_ready() const noexcept { return write_ready_; }
    // The peer has closed its writing side or the connection broke (EPOLLRDHUP, HUP, ERR).
    [[nodiscard]] bool hung_up() const noexcept { return hung_up_; }
    void clear_read() noexcept;
    void clear_write() noexcept;
    // Bytes wait above the socket (inside a TLS engine): a wait must not sleep on them.
    void mark_read() noexcept;

  private:
    friend class loop;
    friend class waiter;
    void deliver(std::uint32_t epoll_events) noexcept;

    loop& loop_;
    int fd_;
    std::uint32_t slot_ = 0;
    waiter* waiter_ = nullptr;
    descriptor* next_attached_ = nullptr;  // of the same waiter
    events read_bit_ = 0;
    events write_bit_ = 0;
    events hangup_bit_ = 0;
    bool read_ready_ = false;
    bool write_ready_ = false;
    bool hung_up_ = false;
};

// What one coroutine waits on. Lives in that coroutine's frame or in an object it owns; descriptors
// that are still attached when it goes are detached. Same thread as its loop.
class waiter {
  public:
    explicit waiter(loop& on) noexcept : loop_(on) {}
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;
    ~waiter();

    [[nodiscard]] loop& owner() const noexcept { return loop_; }

    // Bits stay set until cleared (descriptors clear their own).
    void set(events bits) noexcept;
    void clear(events bits) noexcept { ready_ &= ~bits; }
    [[nodiscard]] events ready() const noexcept { return ready_; }
    // Sets `woken`; wait() clears it when it reports it.
    void wake() noexcept { set(woken); }

    struct awaiter {
        waiter& self;
        events mask;
        mono_time deadline;
        [[nodiscard]] bool await_ready() const noexcept { return (self.ready_ & mask) != 0; }
        void await_suspend(std::coroutine_handle<> h);
        events await_resume() noexcept;
        // Also when the frame is destroyed in mid-wait: the waiter may outlive it.
        ~awaiter() { self.handle_ = {}; }
    };

    // Resumes when a bit of mask is set, or with `timed_out` alone when the deadline passed first.
    // Only one wait at a time.
    [[nodiscard]] awaiter wait(events mask, mono_time deadline = no_deadline) noexcept {
        return {*this, mask, deadline};
    }

    struct yielder {
        waiter& self;
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> h) noexcept;
        void await_resume() noexcept { self.ready_ &= ~timed_out; }
        ~yielder() { self.handle_ = {}; }
    };
    // Goes on in the next turn, after those that are ready now: fairness in long work.
    [[nodiscard]] yielder yield() noexcept { return {*this}; }

  private:
    friend class loop;
    friend class descriptor;
    void resume_later() noexcept;

    loop& loop_;
    events ready_ = 0;
    events mask_ = 0;
    std::coroutine_handle<> handle_;
    mono_time deadline_ = no_deadline;
    descriptor* attached_ = nullptr;  // a list of two as a rule
    // Place in the loop's timer wheel; lazily updated, so that moving a deadline is one store.
    waiter* wheel_next_ = nullptr;
    waiter** wheel_link_ = nullptr;
    std::int64_t wheel_tick_ = 0;
    bool queued_ = false;
};

class loop {
  public:
    explicit loop(const clock_source& clock);
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;
    ~loop();

    // Runs until stop(); the thread that calls it is the loop's thread.
    void run();
    // One turn that sleeps at most max_sleep_ms (tests with a manual clock).
    void run_turn(int max_sleep_ms);
    // Any thread. run() returns after the current turn; what waits is left as it is.
    void stop() noexcept;
    // Any thread. Runs fn on the loop's thread, in order of posting.
    void post(std::function<void()> fn);

    // The time at the start of this turn: cheap and good enough for deadlines.
    [[nodiscard]] mono_time now() const noexcept { return now_; }
    [[nodiscard]] const clock_source& clock() const noexcept { return clock_; }

    // Called once at the end of every turn, before the loop sleeps (batching).
    std::function<void()> after_turn;

  private:
    friend class descriptor;
    friend class waiter;

    static constexpr std::int64_t wheel_slots = 4096;
    static constexpr auto wheel_step = std::chrono::milliseconds(8);

    void add(descriptor& d);
    void remove(descriptor& d) noexcept;
    void schedule(waiter& w) noexcept;
    void unschedule(waiter& w) noexcept;
    void run_timers() noexcept;
    static void resume(waiter* w);
    void run_woken();
    void run_ready();
    void run_posted();
    void turn(int max_sleep_ms);
    [[nodiscard]] int sleep_ms() const noexcept;
    [[nodiscard]] std::int64_t tick_of(mono_time t) const noexcept;

    const clock_source& clock_;
    int epoll_ = -1;
    int event_ = -1;
    mono_time start_;
    mono_time now_;
    bool stopped_ = false;

    // Events carry slot and generation, so that one for a descriptor closed in this turn is known.
    struct slot {
        descriptor* d = nullptr;
        std::uint32_t generation = 0;
    };
    std::vector<slot> slots_;
    std::vector<std::uint32_t> free_slots_;

    std::vector<waiter*> ready_;
    std::vector<waiter*> later_;  // have yielded: not before epoll was looked at
    std::vector<waiter*> running_;
    std::vector<waiter*> woken_;

    std::array<waiter*, wheel_slots> wheel_{};
    std::array<std::uint64_t, wheel_slots / 64> wheel_used_{};
    std::int64_t wheel_at_ = 0;

    std::mutex posted_mutex_;
    std::vector<std::function<void()>> posted_;  // guarded by posted_mutex_
};

// The simplest wait there is.
[[nodiscard]] inline auto sleep_until(waiter& w, mono_time t) noexcept {
    return w.wait(0, t);
}

}  // namespace kw::net
