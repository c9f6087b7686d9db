// Sending and reading on the worker's loop; everything unusual is the home's.
#include "store/redis/admission_lane.hpp"

#include <fcntl.h>

#include <system_error>

#include "core/log.hpp"
#include "store/redis/channel.hpp"

namespace kw::store::redis {
namespace {

constexpr std::size_t max_under_way = 4'096;  // more than this goes by the home, which has bounds

}  // namespace

void lane_door::hand_in(std::unique_ptr<connection> open, const admission_wire& wire) {
    const std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return;
    // What is posted must be copyable.
    loop_->post([self = shared_from_this(), wire,
                 held = std::make_shared<std::unique_ptr<connection>>(std::move(open))] {
        if (self->lane_ != nullptr) self->lane_->opened(std::move(*held), wire);
    });
}

void lane_door::close() noexcept {
    const std::lock_guard lock(mutex_);
    loop_ = nullptr;
    lane_ = nullptr;
}

admission_lane::admission_lane(net::loop& on, lane_home& home)
    : home_(home), loop_(on), wait_(on), door_(std::make_shared<lane_door>(on, *this)) {
    root_.start("admission lane", run());
    home_.connect(door_);
}

admission_lane::~admission_lane() {
    door_->close();
    root_.reset();
    for (auto& s : sent_) {
        s.decided = nullptr;
        // Whoever asked is gone, so a lease that nobody heard of must end.
        if (s.is == step_kind::admit) {
            s.is = step_kind::settle;
            s.amount = {.requests = 0};
        }
        home_.take_over(std::move(s));
    }
}

void admission_lane::admit(const admit_request& request, admit_completion done) {
    if (!connection_ || sent_.size() >= max_under_way) return home_.admit(request, std::move(done));
    step s = step_of(step_kind::admit, request);
    s.decided = std::move(done);
    queue(std::move(s));
    wait_.wake();
}

void admission_lane::settle(const lease_ref& which, const amounts& real) {
    if (!connection_ || sent_.size() >= max_under_way) return home_.settle(which, real);
    step s = step_of(step_kind::settle, which);
    s.amount = real;
    queue(std::move(s));
    // Nobody waits for it: it goes with the next admission, or when the answers come that are
    // awaited anyway; each write and each answer to it would be a system call or two.
    if (!awaits_answers_) wait_.wake();
}

void admission_lane::release(const lease_ref& which) {
    if (!connection_ || sent_.size() >= max_under_way) return home_.release(which);
    queue(step_of(step_kind::release, which));
    wait_.wake();
}

void admission_lane::renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) {
    home_.renew(which, ttl);
}

void admission_lane::peek(const std::vector<usage_question>& questions, usage_completion done) {
    home_.peek(questions, std::move(done));
}

void admission_lane::preload(const std::string& access_key_id, const limit& budget,
                             std::int64_t used) {
    home_.preload(access_key_id, budget, used);
}

void admission_lane::forget(const std::string& access_key_id) {
    home_.forget(access_key_id);
}

void admission_lane::sweep() {
    home_.sweep();
}

admission_health admission_lane::health() const {
    return home_.health();
}

void admission_lane::opened(std::unique_ptr<connection> open, admission_wire wire) {
    // The loop closes the descriptors that it watches, the connection its own.
    const int fd = ::fcntl(open->descriptor(), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return home_.connect(door_);
    try {
        descriptor_ = std::make_unique<net::descriptor>(loop_, fd);
    } catch (const std::system_error&) {
        return home_.connect(door_);
    }
    descriptor_->attach(&wait_, net::read_a, net::write_a);
    wire_.emplace(std::move(wire));
    connection_ = std::move(open);
}

void admission_lane::queue(step s) {
    s.deadline = loop_.now() + home_.call_timeout();
    wire_->encode(s, unix_ms(home_.store_time().wall()), out_);
    if (sent_.full()) sent_.set_capacity(2 * sent_.capacity());
    sent_.push_back(std::move(s));
}

// Runs after the exchanges that are ready in a turn, and so sends what all of them have made.
net::task<void> admission_lane::run() {
    for (;;) {
        const auto until = sent_.empty() ? net::no_deadline : sent_.front().deadline;
        const net::events more = out_.unsent().empty() ? 0 : net::write_a;
        co_await wait_.wait(net::woken | net::read_a | more, until);
        if (connection_) turn();
    }
}

void admission_lane::turn() {
    descriptor_->clear_read();
    if (!out_.unsent().empty()) descriptor_->clear_write();
    replies_.clear();
    auto went = connection_->turn(out_.unsent(), replies_);
    for (const auto& r : replies_)
        if (went) went = answered(r);
    if (went && !sent_.empty() && loop_.now() >= sent_.front().deadline)
        went = error(errc::store_unavailable, "no answer in time", error_source::store);
    if (!went) return lost(went.error());
    awaits_answers_ = !sent_.empty() && out_.unsent().empty();
}

result<void> admission_lane::answered(const reply& r) {
    if (sent_.empty()) return error(errc::internal, "an answer to nothing");
    if (r.is_error() && (means_not_now(r.text) || r.text.starts_with("NOSCRIPT")))
        return error(errc::store_unavailable, "Redis: " + r.text, error_source::store);
    auto s = std::move(sent_.front());
    sent_.pop_front();
    if (r.is_error()) {
        // Not this server's state but this step: sending it again would not help.
        log::event(log::level::error, "admission.failed", {{"reason", r.text}});
    }
    if (!s.decided) return {};
    admit_answer answer;
    std::int64_t leases = 0;
    if (!admission_wire::read(r, *s.limits, answer, leases)) {
        home_.take_over(std::move(s));
        return {};
    }
    home_.note(s, answer);
    s.decided(std::move(answer));
    return {};
}

void admission_lane::lost(const error& why) {
    log::event(log::level::warn, "admission.lane_lost", {{"reason", why.context}});
    descriptor_.reset();
    connection_.reset();
    awaits_answers_ = false;
    out_ = {};
    auto all = std::exchange(sent_, boost::circular_buffer<step>(64));
    for (auto& s : all)
        home_.take_over(std::move(s));
    home_.connect(door_);
}

}  // namespace kw::store::redis
