// The part of an exchange in which it waits for a slot of its access key, where that is allowed.
#include <algorithm>
#include <memory>

#include "proxy/exchange.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {

using namespace std::chrono_literals;
using auth::waiting_lines;
using store::admit_answer;

namespace {

constexpr std::size_t large_body = 64 * 1024;

}  // namespace

std::size_t exchange::queue_size() const noexcept {
    // Concurrency is the last of the limits.
    if (access_->limits.set->items().back().kind != store::limit_kind::concurrency) return 0;
    const auto own = access_->options->queue_size;
    return own ? static_cast<std::size_t>(*own) : snap_.settings->limits.queue_size;
}

std::chrono::milliseconds exchange::queue_timeout() const noexcept {
    const auto own = access_->options->queue_timeout;
    return own ? *own : snap_.settings->limits.queue_timeout;
}

// Who is first asks the admission: when a slot was freed in this process, and now and then.
net::task<exchange::step> exchange::stand_in_line(std::uint32_t mark) {
    waiting_lines& lines = w_.shared().lines;
    // A sign comes from any thread, perhaps when this exchange has left already.
    const auto still_here = std::make_shared<exchange*>(this);
    struct at_end {
        exchange*& of;
        ~at_end() { of = nullptr; }
    } guard{*still_here};
    const mono_time entered = w_.mono();
    // Bodies that wait here leave half of the memory for bodies to requests that need not wait.
    const auto& memory = w_.shared().now.kept_bodies;
    const bool crowded = body_.capacity() >= large_body && memory.used() > memory.limit() / 2;
    auto place =
        lines.enter(access_->id, crowded ? 0 : queue_size(), snap_.settings->limits.queue_total,
                    mark, entered, [still_here, &home = w_.loop()] {
                        home.post([still_here] {
                            if (*still_here) (*still_here)->client_.wait.wake();
                        });
                    });
    if (!place)
        co_return co_await refuse_from_line(
            "queue_full",
            "This access key's requests at the same time are used up, and as many as "
            "may wait are waiting; try again later.");
    const auto next_pause = [&] {
        return lines.poll_pause() * static_cast<std::int64_t>(75 + w_.random().below(50)) / 100;
    };
    const mono_time until = entered + queue_timeout();
    mono_time next_try = entered + next_pause();
    bool was_first = false;
    for (;;) {
        const mono_time now = w_.mono();
        queued_ = now - entered;
        if (client_.gone()) {
            place->leave(waiting_lines::end::cancelled, false, now);
            co_return co_await refuse_admission(error(errc::client_closed));
        }
        if (w_.shared().draining.load()) {
            place->leave(waiting_lines::end::refused, false, now);
            co_return co_await refuse_admission(
                error(errc::shutting_down, "keywheel is stopping; try again."));
        }
        if (now >= until) {
            place->leave(waiting_lines::end::timeout, false, now);
            co_return co_await refuse_from_line(
                "queue_timeout",
                "No slot of this access key became free in the time that a "
                "request may wait for one; try again later.");
        }
        const auto turn = place->look();
        const bool is_first = turn != waiting_lines::place::turn::behind;
        // Who has just become first has had its turn, as it were, by the one before.
        if (is_first && !was_first) next_try = now + next_pause();
        was_first = is_first;
        if (turn == waiting_lines::place::turn::now ||
            (turn == waiting_lines::place::turn::first && now >= next_try)) {
            auto answer = co_await ask_admission(reservation_);
            if (!answer) {
                const bool gone = answer.error().code == errc::client_closed;
                place->leave(gone ? waiting_lines::end::cancelled : waiting_lines::end::refused,
                             false, w_.mono());
                co_return co_await refuse_admission(answer.error());
            }
            next_try = w_.mono() + next_pause();
            if (answer->is == admit_answer::outcome::waits || wants_slot(*answer)) {
                limit_states_ = std::move(answer->states);
                continue;
            }
            const bool more = answer->admitted() && answer->states.back().remaining() > 0;
            place->leave(
                answer->admitted() ? waiting_lines::end::success : waiting_lines::end::refused,
                more, w_.mono());
            queued_ = w_.mono() - entered;
            co_return co_await take(std::move(*answer));
        }
        const mono_time wake_at =
            turn == waiting_lines::place::turn::first ? std::min(until, next_try) : until;
        co_await client_.wait.wait(net::woken | net::hangup_a | net::stopping, wake_at);
    }
}

net::task<exchange::step> exchange::refuse_from_line(std::string_view code, std::string message) {
    const std::string lines = rate_limit_lines();
    const bool keep = co_await refuse(
        error(errc::concurrency_limit_exceeded, std::move(message), error_source::downstream),
        {.retry_after = w_.shared().lines.likely_wait(access_->id),
         .own_lines = lines,
         .code = code});
    co_return keep ? step::done : step::close;
}

}  // namespace kw::proxy
