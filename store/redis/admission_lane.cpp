// Sending and reading on the worker's loop; everything unusual is the home's.
#include "store/redis/admission_lane.hpp"

#include <fcntl.h>

#include <algorithm>
#include <system_error>

#include "core/log.hpp"
#include "store/redis/channel.hpp"

namespace kw::store::redis {
namespace {

constexpr std::size_t max_under_way = 4'096;  // more than this goes by the home, which has bounds
constexpr net::events first_line = 1U << 8U;  // its bit; at most 16 follow one another

}  // namespace

void lane_door::hand_in(lane_lines lines, const admission_wire& wire) {
    const std::lock_guard lock(mutex_);
    if (loop_ == nullptr) return;
    // What is posted must be copyable.
    loop_->post(
        [self = shared_from_this(), wire, held = std::make_shared<lane_lines>(std::move(lines))] {
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
    for (auto& l : lines_)
        for (auto& s : l.sent) {
            s.decided = nullptr;
            // Whoever asked is gone, so a lease that nobody heard of must end.
            if (s.is == step_kind::admit) {
                s.is = step_kind::settle;
                s.amount = {.requests = 0};
            }
            home_.take_over(std::move(s));
        }
}

admission_lane::line* admission_lane::line_for(const std::string& access_key_id) noexcept {
    if (lines_.empty()) return nullptr;
    line& on = lines_[lines_.size() == 1 ? 0 : of_shard_[shard_of(access_key_id)]];
    return on.sent.size() < max_under_way ? &on : nullptr;
}

void admission_lane::admit(const admit_request& request, admit_completion done) {
    line* const on = line_for(request.access_key_id);
    if (on == nullptr) return home_.admit(request, std::move(done));
    step s = step_of(step_kind::admit, request);
    s.decided = std::move(done);
    queue(*on, std::move(s));
    wait_.wake();
}

void admission_lane::settle(const lease_ref& which, const amounts& real) {
    line* const on = line_for(which.access_key_id);
    if (on == nullptr) return home_.settle(which, real);
    step s = step_of(step_kind::settle, which);
    s.amount = real;
    home_.ends(s);
    queue(*on, std::move(s));
    // Nobody waits for it: it goes with the next admission, or when the answers come that are
    // awaited anyway; each write and each answer to it would be a system call or two.
    if (!on->awaits_answers) wait_.wake();
}

void admission_lane::release(const lease_ref& which) {
    line* const on = line_for(which.access_key_id);
    if (on == nullptr) return home_.release(which);
    step s = step_of(step_kind::release, which);
    home_.ends(s);
    queue(*on, std::move(s));
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

void admission_lane::opened(lane_lines lines, admission_wire wire) {
    std::vector<line> made(lines.open.size());
    for (std::size_t i = 0; i < made.size(); ++i) {
        // The loop closes the descriptors that it watches, the connection its own.
        const int fd = ::fcntl(lines.open[i]->descriptor(), F_DUPFD_CLOEXEC, 0);
        if (fd < 0) return home_.connect(door_);
        try {
            made[i].watched = std::make_unique<net::descriptor>(loop_, fd);
        } catch (const std::system_error&) {
            return home_.connect(door_);
        }
        made[i].bit = first_line << i;
        made[i].watched->attach(&wait_, made[i].bit, 0);
        made[i].on = std::move(lines.open[i]);
    }
    wire_.emplace(std::move(wire));
    lines_ = std::move(made);
    of_shard_ = lines.of_shard;
    wait_.wake();  // to wait for these too
}

void admission_lane::queue(line& on, step s) {
    s.deadline = loop_.now() + home_.call_timeout();
    wire_->encode(s, unix_ms(home_.store_time().wall()), on.out);
    if (on.sent.full()) on.sent.set_capacity(2 * on.sent.capacity());
    on.sent.push_back(std::move(s));
}

// Runs after the exchanges that are ready in a turn, and so sends what all of them have made.
net::task<void> admission_lane::run() {
    for (;;) {
        auto until = net::no_deadline;
        net::events bits = net::woken;
        for (const auto& l : lines_) {
            bits |= l.bit;
            if (!l.sent.empty()) until = std::min(until, l.sent.front().deadline);
        }
        co_await wait_.wait(bits, until);
        turn();
    }
}

void admission_lane::turn() {
    for (auto& l : lines_) {
        const bool late = !l.sent.empty() && loop_.now() >= l.sent.front().deadline;
        if (!l.watched->read_ready() && l.out.unsent().empty() && !late) continue;
        auto went = turn(l, late);
        if (went && !l.sent.empty() && loop_.now() >= l.sent.front().deadline)
            went = error(errc::store_unavailable, "no answer in time", error_source::store);
        if (!went) return lost(went.error());
    }
}

result<void> admission_lane::turn(line& on, bool look) {
    // A reply makes it ready: a look that finds nothing would be a system call for each write.
    const bool readable = look || on.watched->read_ready();
    if (readable) on.watched->clear_read();
    auto& unsent = on.out.unsent();
    if (!unsent.empty()) on.watched->clear_write();
    replies_.clear();
    auto went = on.on->turn(unsent, replies_, readable);
    for (const auto& r : replies_)
        if (went) went = answered(on, r);
    if (!went) return went;
    if (on.blocked == unsent.empty()) {
        on.blocked = !unsent.empty();
        on.watched->attach(&wait_, on.bit, on.blocked ? on.bit : 0);
    }
    on.awaits_answers = !on.sent.empty() && unsent.empty();
    return {};
}

result<void> admission_lane::answered(line& on, const reply& r) {
    if (on.sent.empty()) return error(errc::internal, "an answer to nothing");
    const bool moves = r.is_error() && means_shard_moves(r.text);
    if (r.is_error() && !moves && (means_not_now(r.text) || r.text.starts_with("NOSCRIPT"))) {
        if (r.text.starts_with("MOVED ")) home_.moved(r.text);
        return error(errc::store_unavailable, "Redis: " + r.text, error_source::store);
    }
    auto s = std::move(on.sent.front());
    on.sent.pop_front();
    if (moves) {
        home_.take_over(std::move(s));
        return {};
    }
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
    auto all = std::exchange(lines_, {});
    for (auto& l : all)
        for (auto& s : l.sent)
            home_.take_over(std::move(s));
    home_.connect(door_);
}

}  // namespace kw::store::redis
