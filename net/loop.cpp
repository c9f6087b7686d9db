// The event loop over epoll and eventfd.
#include "net/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <limits>
#include <system_error>
#include <utility>

namespace kw::net {
namespace {

constexpr std::uint64_t event_token = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t few = 32;     // so many run before those that they have woken
constexpr int passes_per_turn = 4;  // what is woken later still waits for the next turn

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

// ---- descriptor ----

descriptor::descriptor(loop& on, int fd) : loop_(on), fd_(fd) {
    try {
        loop_.add(*this);
    } catch (...) {
        ::close(fd_);
        throw;
    }
}

descriptor::~descriptor() {
    attach(nullptr, 0, 0);
    loop_.remove(*this);
    ::close(fd_);
}

void descriptor::attach(waiter* to, events read_bit, events write_bit, events hangup_bit) noexcept {
    if (waiter_) {
        waiter_->clear(read_bit_ | write_bit_ | hangup_bit_);
        descriptor** link = &waiter_->attached_;
        while (*link != this)
            link = &(*link)->next_attached_;
        *link = next_attached_;
    }
    waiter_ = to;
    if (to) next_attached_ = std::exchange(to->attached_, this);
    read_bit_ = read_bit;
    write_bit_ = write_bit;
    hangup_bit_ = hangup_bit;
    if (!waiter_) return;
    waiter_->set((read_ready_ ? read_bit_ : 0) | (write_ready_ ? write_bit_ : 0) |
                 (hung_up_ ? hangup_bit_ : 0));
}

void descriptor::clear_read() noexcept {
    // After a hang-up there is no further edge: reading must go on until the end is seen.
    if (hung_up_) return;
    read_ready_ = false;
    if (waiter_) waiter_->clear(read_bit_);
}

void descriptor::clear_write() noexcept {
    write_ready_ = false;
    if (waiter_) waiter_->clear(write_bit_);
}

void descriptor::mark_read() noexcept {
    read_ready_ = true;
    if (waiter_) waiter_->set(read_bit_);
}

void descriptor::deliver(std::uint32_t got) noexcept {
    events bits = 0;
    if (got & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        hung_up_ = true;
        bits |= hangup_bit_;
    }
    if (got & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        read_ready_ = true;
        bits |= read_bit_;
    }
    if (got & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        write_ready_ = true;
        bits |= write_bit_;
    }
    if (waiter_) {
        waiter_->set(bits);
    } else if (on_idle_event && read_ready_) {
        // The callee may destroy this object, and with it the function.
        auto callback = on_idle_event;
        callback();
    }
}

// ---- waiter ----

waiter::~waiter() {
    // Who still writes to a stream in a destructor must not find a waiter that is gone.
    for (descriptor* d = attached_; d; d = d->next_attached_)
        d->waiter_ = nullptr;
    loop_.unschedule(*this);
    if (queued_) {
        std::erase(loop_.ready_, this);
        std::erase(loop_.later_, this);
        for (auto* list : {&loop_.running_, &loop_.woken_})
            std::replace(list->begin(), list->end(), this, static_cast<waiter*>(nullptr));
    }
}

void waiter::set(events bits) noexcept {
    ready_ |= bits;
    if (handle_ && (ready_ & mask_)) resume_later();
}

void waiter::resume_later() noexcept {
    if (queued_) return;
    queued_ = true;
    loop_.ready_.push_back(this);
}

void waiter::awaiter::await_suspend(std::coroutine_handle<> h) {
    self.handle_ = h;
    self.mask_ = mask;
    self.deadline_ = deadline;
    if (deadline != no_deadline) self.loop_.schedule(self);
}

events waiter::awaiter::await_resume() noexcept {
    const events got = self.ready_ & (mask | timed_out);
    // A wake() that nobody asked for this time stays for the wait that does.
    self.ready_ &= ~((got & woken) | timed_out);
    self.deadline_ = no_deadline;
    // A bit beats the clock when both came in the same turn.
    return (got & mask) ? (got & mask) : got;
}

void waiter::yielder::await_suspend(std::coroutine_handle<> h) noexcept {
    self.handle_ = h;
    self.mask_ = 0;
    self.ready_ |= timed_out;
    if (self.queued_) return;
    self.queued_ = true;
    self.loop_.later_.push_back(&self);
}

// ---- loop ----

loop::loop(const clock_source& clock) : clock_(clock), start_(clock.mono()), now_(start_) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) fail("epoll_create1");
    event_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_ < 0) {
        ::close(epoll_);
        fail("eventfd");
    }
    epoll_event ev{};
    ev.events = EPOLLIN | EPOLLET;
    ev.data.u64 = event_token;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &ev) != 0) fail("epoll_ctl");
}

loop::~loop() {
    ::close(event_);
    ::close(epoll_);
}

void loop::add(descriptor& d) {
    if (free_slots_.empty()) {
        free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
        slots_.emplace_back();
        free_slots_.reserve(slots_.capacity());
    }
    const std::uint32_t index = free_slots_.back();
    epoll_event ev{};
    ev.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    ev.data.u64 = (std::uint64_t{slots_[index].generation} << 32) | index;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, d.fd_, &ev) != 0) fail("epoll_ctl add");
    free_slots_.pop_back();
    slots_[index].d = &d;
    d.slot_ = index;
}

void loop::remove(descriptor& d) noexcept {
    // close() takes the descriptor out of epoll; events already fetched are known by generation.
    slots_[d.slot_].d = nullptr;
    ++slots_[d.slot_].generation;
    free_slots_.push_back(d.slot_);
}

std::int64_t loop::tick_of(mono_time t) const noexcept {
    // Rounded up: a timer never fires early.
    return (t - start_ + wheel_step - mono_time::duration(1)) / wheel_step;
}

void loop::schedule(waiter& w) noexcept {
    std::int64_t tick = std::max(tick_of(w.deadline_), wheel_at_ + 1);
    if (w.wheel_link_) {
        // Already waiting in an earlier slot: it is looked at there and put further then.
        if (w.wheel_tick_ <= tick) return;
        unschedule(w);
    }
    tick = std::min(tick, wheel_at_ + wheel_slots - 1);
    w.wheel_tick_ = tick;
    const auto index = static_cast<std::size_t>(tick % wheel_slots);
    waiter*& head = wheel_[index];
    w.wheel_next_ = head;
    w.wheel_link_ = &head;
    if (head) head->wheel_link_ = &w.wheel_next_;
    head = &w;
    wheel_used_[index / 64] |= std::uint64_t{1} << (index % 64);
}

void loop::unschedule(waiter& w) noexcept {
    if (!w.wheel_link_) return;
    *w.wheel_link_ = w.wheel_next_;
    if (w.wheel_next_) w.wheel_next_->wheel_link_ = w.wheel_link_;
    w.wheel_link_ = nullptr;
    w.wheel_next_ = nullptr;
    // The slot's bit in wheel_used_ may now be stale: at worst one early wake-up clears it.
}

void loop::run_timers() noexcept {
    const std::int64_t now_tick = (now_ - start_) / wheel_step;
    while (wheel_at_ < now_tick) {
        // Jump over empty stretches a word at a time.
        ++wheel_at_;
        const auto index = static_cast<std::size_t>(wheel_at_ % wheel_slots);
        const std::uint64_t bit = std::uint64_t{1} << (index % 64);
        if (wheel_used_[index / 64] == 0) {
            const auto skip = static_cast<std::int64_t>(63 - index % 64);
            wheel_at_ += std::min(skip, now_tick - wheel_at_);
            continue;
        }
        if ((wheel_used_[index / 64] & bit) == 0) continue;
        wheel_used_[index / 64] &= ~bit;
        waiter* w = std::exchange(wheel_[index], nullptr);
        while (w) {
            waiter* next = w->wheel_next_;
            w->wheel_link_ = nullptr;
            w->wheel_next_ = nullptr;
            if (w->deadline_ != no_deadline) {
                if (tick_of(w->deadline_) > wheel_at_) {
                    schedule(*w);
                } else if (w->handle_) {
                    w->ready_ |= timed_out;
                    w->resume_later();
                }
            }
            w = next;
        }
    }
}

int loop::sleep_ms() const noexcept {
    if (!ready_.empty() || !later_.empty()) return 0;
    constexpr std::size_t words = wheel_slots / 64;
    const auto from = static_cast<std::size_t>((wheel_at_ + 1) % wheel_slots);
    for (std::size_t i = 0; i <= words; ++i) {
        const std::size_t word = (from / 64 + i) % words;
        std::uint64_t bits = wheel_used_[word];
        if (i == 0) bits &= ~std::uint64_t{0} << (from % 64);
        if (i == words) bits &= ~(~std::uint64_t{0} << (from % 64));
        if (bits == 0) continue;
        const auto index =
            static_cast<std::int64_t>(word * 64 + static_cast<std::size_t>(std::countr_zero(bits)));
        const std::int64_t at = wheel_at_ % wheel_slots;
        const std::int64_t ahead = (index - at + wheel_slots) % wheel_slots;
        const auto due = start_ + (wheel_at_ + ahead) * wheel_step;
        const auto ms = std::chrono::ceil<std::chrono::milliseconds>(due - now_).count();
        return static_cast<int>(std::clamp<std::int64_t>(ms, 0, 60'000));
    }
    return 60'000;
}

void loop::resume(waiter* w) {
    if (!w) return;
    w->queued_ = false;
    if (!w->handle_) return;
    // The reason may have been cleared by another coroutine of this turn.
    if (!(w->ready_ & (w->mask_ | timed_out))) return;
    std::exchange(w->handle_, {}).resume();
}

void loop::run_woken() {
    woken_.swap(ready_);
    for (std::size_t i = 0; i < woken_.size(); ++i)
        resume(woken_[i]);
    woken_.clear();
}

// Those that are woken by those that run go on in the same turn, without another look at epoll, a
// few times over. Of many that are ready at once they come after each few already: what the first
// have asked for is under way while the last are still read.
void loop::run_ready() {
    running_.swap(ready_);
    for (std::size_t i = 0; i < running_.size(); ++i) {
        resume(running_[i]);
        if (i % few == few - 1 && !ready_.empty()) run_woken();
    }
    running_.clear();
    for (int pass = 0; pass < passes_per_turn && !ready_.empty(); ++pass)
        run_woken();
}

void loop::run_posted() {
    std::vector<std::function<void()>> work;
    {
        const std::lock_guard lock(posted_mutex_);
        work.swap(posted_);
    }
    for (auto& fn : work)
        fn();
}

void loop::run() {
    stopped_ = false;
    run_posted();
    while (!stopped_)
        turn(60'000);
}

void loop::run_turn(int max_sleep_ms) {
    run_posted();
    turn(max_sleep_ms);
}

void loop::turn(int max_sleep_ms) {
    std::array<epoll_event, 256> got;
    if (after_turn) after_turn();
    const int ms = std::min(sleep_ms(), max_sleep_ms);
    const int n = ::epoll_wait(epoll_, got.data(), static_cast<int>(got.size()), ms);
    now_ = clock_.mono();
    ready_.insert(ready_.end(), later_.begin(), later_.end());
    later_.clear();
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    for (int i = 0; i < n; ++i) {
        const epoll_event& ev = got[static_cast<std::size_t>(i)];
        if (ev.data.u64 == event_token) {
            std::uint64_t count = 0;
            [[maybe_unused]] const auto r = ::read(event_, &count, sizeof count);
            run_posted();
            continue;
        }
        const auto index = static_cast<std::uint32_t>(ev.data.u64);
        const auto generation = static_cast<std::uint32_t>(ev.data.u64 >> 32);
        const slot& s = slots_[index];
        if (s.d && s.generation == generation) s.d->deliver(ev.events);
    }
    run_timers();
    run_ready();
}

void loop::stop() noexcept {
    post([this] { stopped_ = true; });
}

void loop::post(std::function<void()> fn) {
    bool first = false;
    {
        const std::lock_guard lock(posted_mutex_);
        first = posted_.empty();
        posted_.push_back(std::move(fn));
    }
    if (first) {
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto r = ::write(event_, &one, sizeof one);
    }
}

}  // namespace kw::net
