// Grants, and the line before them.
#include "proxy/memory_budget.hpp"

#include <algorithm>

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

// Whoever holds no more than this with what it asks for is small.
constexpr std::int64_t small = 32 * 1024;
// Memory comes free on other workers too, of which nobody tells: the first in line looks.
constexpr auto look_again = 8ms;

}  // namespace

bool memory_budget::take(std::int64_t bytes, std::int64_t below) noexcept {
    std::int64_t now = used_.load(std::memory_order_relaxed);
    do {
        if (now + bytes > below) return false;
    } while (!used_.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));
    return true;
}

// A place in the line, given up with this object.
class memory_queue::place {
  public:
    place(memory_queue& in, net::waiter& who) : line_(in), who_(&who) {
        line_.line_.push_back(who_);
        line_.budget_.waiting_.fetch_add(1, std::memory_order_relaxed);
    }
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    ~place() {
        const bool was_first = first();
        std::erase(line_.line_, who_);
        line_.budget_.waiting_.fetch_sub(1, std::memory_order_relaxed);
        if (was_first && !line_.line_.empty()) line_.line_.front()->wake();
    }
    [[nodiscard]] bool first() const noexcept { return line_.line_.front() == who_; }

  private:
    memory_queue& line_;
    net::waiter* who_;
};

bool memory_share::take(std::int64_t bytes, bool in_turn) noexcept {
    memory_budget& budget = queue_.budget_;
    bool got = in_turn && budget.take(bytes, budget.common());
    if (!got && held_ + bytes <= small) got = budget.take(bytes, budget.limit());
    if (!got && !pass_ && in_turn) pass_ = !budget.pass_.exchange(true, std::memory_order_relaxed);
    if (!got && pass_)
        got = budget.take(bytes, budget.limit() + budget.counted_.load(std::memory_order_relaxed));
    if (got) held_ += bytes;
    return got;
}

bool memory_share::try_grow(std::size_t bytes) noexcept {
    return take(static_cast<std::int64_t>(bytes), queue_.line_.empty());
}

net::task<memory_answer> memory_share::grow(net::waiter& w, std::size_t bytes, mono_time deadline,
                                            net::events give_up) {
    if (try_grow(bytes)) co_return memory_answer::granted;
    const memory_queue::place here(queue_, w);
    for (;;) {
        const bool looks = pass_ || here.first();
        if (looks && take(static_cast<std::int64_t>(bytes), here.first()))
            co_return memory_answer::granted;
        mono_time until = deadline;
        if (looks) until = std::min(deadline, w.owner().now() + look_again);
        const auto got = co_await w.wait(net::woken | give_up, until);
        if (got & give_up) co_return memory_answer::given_up;
        if (w.owner().now() >= deadline) co_return memory_answer::too_late;
    }
}

void memory_share::count(std::size_t bytes) noexcept {
    const auto now = static_cast<std::int64_t>(bytes);
    if (now == counted_) return;
    queue_.budget_.used_.fetch_add(now - counted_, std::memory_order_relaxed);
    queue_.budget_.counted_.fetch_add(now - counted_, std::memory_order_relaxed);
    counted_ = now;
}

void memory_share::give_pass() noexcept {
    if (pass_) queue_.budget_.pass_.store(false, std::memory_order_relaxed);
    pass_ = false;
}

void memory_share::release() noexcept {
    give_pass();
    if (held_ == 0) return;
    queue_.budget_.used_.fetch_sub(held_, std::memory_order_relaxed);
    held_ = 0;
    // Those in line need not wait for the next look.
    if (!queue_.line_.empty()) queue_.line_.front()->wake();
}

}  // namespace kw::proxy
