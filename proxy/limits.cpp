// The part of an exchange that its access key's limits decide: reserved before any upstream is
// asked, settled when the exchange ends.
#include <algorithm>
#include <memory>
#include <thread>

#include "core/incidents.hpp"
#include "proxy/exchange.hpp"
#include "proxy/rate_limit_headers.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;
using outcome = store::admit_answer::outcome;

constexpr auto answer_time = 10s;  // the admission has deadlines of its own
constexpr auto queue_pause = 20ms;
// A reservation is meant to be too large: texts have four bytes to a token or so, JSON and code
// fewer, and what we add to a body (stream_options) or a provider to a prompt counts too.
constexpr std::int64_t bytes_per_token = 3;
constexpr std::int64_t added_tokens = 64;

}  // namespace

// What the request may cost at most, as far as it says so itself.
store::admit_request exchange::admission_request() const {
    const auto& settings = snap_.settings->limits;
    store::admit_request q;
    q.ledger_id = record_.id;
    q.access_key_id = access_->id;
    q.limits = access_->limits.set;
    q.lease_ttl = lease_ttl;
    // The responses of a WebSocket are admitted one by one.
    if (!endpoint_.billable || upgrade_) return q;
    usage::quantities most;
    most.tokens.input = record_.bytes_in / bytes_per_token + added_tokens;
    const bool has_output = endpoint_.family != "embeddings" && endpoint_.family != "moderations";
    if (has_output) {
        q.bounded = fields_.max_tokens > 0;
        constexpr std::int64_t most_tokens = 100'000'000;
        const std::int64_t each =
            q.bounded ? std::min(fields_.max_tokens, most_tokens) : settings.default_output_tokens;
        most.tokens.output = each * std::clamp<std::int64_t>(fields_.n, 1, 1'000);
    }
    q.reservation.tokens = most.tokens.total();
    const auto charge =
        snap_.prices->cost({}, route_.model, route_.model, most, fields_.service_tier,
                           {1'000'000, access_->multiplier_ppm});
    if (charge.rated) {
        q.reservation.cost = *charge.rated;
    } else {
        q.reservation.cost = settings.default_cost.value_or(0);
        q.bounded = false;
    }
    return q;
}

// Asks and waits for the answer, which may come from the store's thread.
net::task<result<store::admit_answer>> exchange::ask_admission(const store::admit_request& q) {
    struct shared_answer {
        store::admit_answer answer;
        bool ready = false;
        bool given_up = false;
        exchange* asking = nullptr;  // null once it has stopped waiting
    };
    auto shared = std::make_shared<shared_answer>();
    const auto deliver = [shared, &w = w_, which = store::lease_ref{q.access_key_id, q.ledger_id}](
                             store::admit_answer a) {
        // The store may have heard of the end before it heard of this.
        if (shared->given_up && a.admitted())
            w.leases()->admission().settle(which, {.requests = 0});
        shared->answer = std::move(a);
        shared->ready = true;
        if (shared->asking != nullptr) shared->asking->client_.wait.wake();
    };
    net::loop& home = w_.loop();
    w_.leases()->admission().admit(
        q, [deliver, &home, owner = std::this_thread::get_id()](store::admit_answer a) {
            if (std::this_thread::get_id() == owner) return deliver(std::move(a));
            home.post([deliver, a = std::move(a)]() mutable { deliver(std::move(a)); });
        });
    shared->asking = this;
    struct at_end {
        shared_answer& of;
        ~at_end() { of.asking = nullptr; }
    } guard{*shared};
    const mono_time deadline = w_.loop().now() + answer_time;
    while (!shared->ready) {
        const auto got = co_await client_.wait.wait(net::woken | net::hangup_a, deadline);
        if ((got & (net::timed_out | net::hangup_a)) && !shared->ready) {
            // Perhaps it was admitted and we shall never know: what is given back twice counts
            // once.
            shared->given_up = true;
            w_.leases()->admission().settle({q.access_key_id, q.ledger_id}, {.requests = 0});
            w_.shared().lines.freed(q.access_key_id);
            co_return (got & net::hangup_a) ? error(errc::client_closed) : unknown_limits();
        }
    }
    co_return std::move(shared->answer);
}

net::task<exchange::step> exchange::admit() {
    if (!access_ || !access_->limits || w_.leases() == nullptr) co_return step::again;
    reservation_ = admission_request();
    const bool queues = queue_size() > 0;
    auth::waiting_lines& lines = w_.shared().lines;
    const std::uint32_t mark = lines.mark(access_->id);
    if (queues && lines.anyone_waits(access_->id)) co_return co_await stand_in_line(mark);
    const mono_time until = w_.mono() + queue_timeout();
    for (;;) {
        auto answer = co_await ask_admission(reservation_);
        if (!answer) co_return co_await refuse_admission(answer.error());
        if (answer->is == outcome::waits && w_.mono() < until) {
            const auto got =
                co_await client_.wait.wait(net::hangup_a, w_.loop().now() + queue_pause);
            if (!(got & net::hangup_a)) continue;
            co_return co_await refuse_admission(error(errc::client_closed));
        }
        if (queues && wants_slot(*answer)) co_return co_await stand_in_line(mark);
        co_return co_await take(std::move(*answer));
    }
}

// Only the concurrency refuses: a slot may come back at any moment.
bool exchange::wants_slot(const store::admit_answer& answer) const noexcept {
    return answer.is == outcome::refused &&
           access_->limits.set->items()[answer.refused_by].kind == store::limit_kind::concurrency;
}

// again: admitted; otherwise the client has been told why not.
net::task<exchange::step> exchange::take(store::admit_answer answer) {
    limit_states_ = std::move(answer.states);
    note_budgets();
    if (answer.is == outcome::admitted) {
        admitted_ = true;
        w_.leases()->keep(lease_);
        co_return step::again;
    }
    if (answer.is == outcome::unavailable) co_return co_await refuse_admission(unknown_limits());
    co_return co_await refuse_by_limit(answer.refused_by, answer.retry_in);
}

// Of a key whose budget is near its end, so that its owner can be told.
void exchange::note_budgets() const {
    const double share = snap_.settings->notifications.budget_warning / 100.0;
    if (share == 0 || w_.shared().noticed == nullptr) return;
    const auto& limits = access_->limits.set->items();
    for (std::size_t i = 0; i < limits.size() && i < limit_states_.size(); ++i) {
        if (limits[i].kind != store::limit_kind::budget ||
            static_cast<double>(limit_states_[i].used) < static_cast<double>(limits[i].cap) * share)
            continue;
        if (w_.is_time_to_tell(access_->id))
            w_.shared().noticed->note(incidents::what::budget_near_end, access_->id);
        return;
    }
}

net::task<exchange::step> exchange::refuse_admission(error e) {
    const bool keep = co_await refuse(std::move(e), {.retry_after = 1s});
    co_return keep ? step::done : step::close;
}

net::task<exchange::step> exchange::refuse_by_limit(std::size_t index,
                                                    std::chrono::milliseconds retry_in) {
    const store::limit& limit = access_->limits.set->items()[index];
    const store::limit_state state =
        index < limit_states_.size() ? limit_states_[index] : store::limit_state{};
    error e = limit_error(limit, state);
    const std::string lines = rate_limit_lines();
    error_details details{.own_lines = lines};
    if (retry_in > 0ms) details.retry_after = retry_in;
    if (e.code == errc::insufficient_quota) details.status = snap_.settings->limits.quota_status;
    // A budget does not come back by trying again.
    details.already_retried = e.code == errc::insufficient_quota;
    const bool keep = co_await refuse(std::move(e), details);
    co_return keep ? step::done : step::close;
}

std::string exchange::rate_limit_lines() const {
    if (limit_states_.empty() || !snap_.settings->headers.rate_limits) return {};
    return make_rate_limit_lines(access_->limits.set->items(), limit_states_);
}

// Once, with what was really used; the worker goes on at once.
void exchange::settle_limits() {
    if (!admitted_) return;
    admitted_ = false;
    store::amounts real;
    real.requests = record_.attempts > 0 ? 1 : 0;
    real.tokens = record_.tokens.total();
    real.cost = record_.rated_cost.value_or(0);
    // Used, but of unknown price: what was reserved for that.
    if (!record_.rated_cost && real.tokens > 0) real.cost = reservation_.reservation.cost;
    lease_.release();
    // Counted once and for all when it was admitted.
    if (reservation_.limits->counts_only() && real.requests == 1) return;
    store::lease_ref which{std::move(reservation_.access_key_id),
                           std::move(reservation_.ledger_id)};
    // A background response: what was reserved stays counted until its usage takes its place.
    if (objects_ && objects_->noted && !objects_->unnoted && record_.tokens.total() == 0)
        w_.leases()->admission().release(which);
    else
        w_.leases()->admission().settle(which, real);
    w_.shared().lines.freed(access_->id);
}

}  // namespace kw::proxy
