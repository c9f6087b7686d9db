// Admission in Redis: one thread with one connection, on which many steps are under way at a time,
// and lanes of the workers' own beside it; while Redis is away this replica's share decides, and
// what it let through is told to Redis later. To a Cluster there is a connection for each master
// that holds shards; with one of them away all are thought away, as a Cluster itself does.
#include "store/admission.hpp"

#include <pthread.h>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <iterator>
#include <mutex>
#include <thread>

#include "core/ids.hpp"
#include "core/log.hpp"
#include "store/file.hpp"
#include "store/redis/admission_lane.hpp"
#include "store/redis/admission_wire.hpp"
#include "store/redis/channel.hpp"
#include "store/redis/cluster.hpp"
#include "store/redis/held_steps.hpp"
#include "store/redis/lane_dialler.hpp"
#include "store/redis/local_share.hpp"
#include "store/redis/store_clock.hpp"

namespace kw::store {
namespace redis {
namespace {

constexpr std::size_t max_under_way = 4'096;  // sent and not answered
constexpr auto beat_every = std::chrono::seconds(2);
constexpr auto longest_goodbye = std::chrono::seconds(2);  // for a shard that is moving

std::string own_id(const admission_options& options, const clock_source& clock) {
    if (!options.replica_id.empty()) return options.replica_id;
    random_source random;
    return make_id("rp_", clock.wall(), random);
}

}  // namespace

class redis_admission final : public lane_home {
  public:
    redis_admission(target to, const redis_options& redis, const admission_options& options,
                    const clock_source& clock)
        : to_(std::move(to)),
          redis_(redis),
          options_(options),
          time_(clock, options),
          wire_(redis.prefix, options, own_id(options, clock)),
          share_(options, time_),
          wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
          backoff_(redis.min_backoff),
          dialler_(
              [this] {
                  return dial_shards(to_, scripts(),
                                     std::chrono::steady_clock::now() + redis_.connect_timeout);
              },
              [this] { ring(); }) {
        connect();
        thread_ = std::thread([this] { run(); });
        ::pthread_setname_np(thread_.native_handle(), "kw-admission");
    }

    ~redis_admission() override {
        step bye;
        bye.is = step_kind::leave;
        push(std::move(bye));
        stopping_ = true;
        ring();
        thread_.join();
    }

    void admit(const admit_request& request, admit_completion done) override {
        auto s = step_of(step_kind::admit, request);
        s.decided = std::move(done);
        if (!push_if_up(s)) decide_here(std::move(s));
    }

    void settle(const lease_ref& which, const amounts& real) override {
        if (share_.in_use()) share_.settle(which, real);
        auto s = step_of(step_kind::settle, which);
        s.amount = real;
        push(std::move(s));
    }

    void release(const lease_ref& which) override {
        if (share_.in_use()) share_.release(which);
        push(step_of(step_kind::release, which));
    }

    void renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) override {
        if (share_.in_use()) share_.renew(which, ttl);
        if (away()) return;
        auto sorted = which;
        std::sort(sorted.begin(), sorted.end());
        sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
        step s;
        s.is = step_kind::renew;
        s.ttl = ttl;
        for (auto& one : sorted) {
            if (!s.ids.empty() &&
                (s.access_key_id != one.access_key_id || s.ids.size() == max_renewed)) {
                push(s);
                s.ids.clear();
            }
            s.access_key_id = one.access_key_id;
            s.ids.push_back(std::move(one.ledger_id));
        }
        if (!s.ids.empty()) push(std::move(s));
    }

    void peek(const std::vector<usage_question>& questions, usage_completion done) override {
        if (questions.empty()) return done({});
        const auto all = std::make_shared<gathering>();
        all->answers.resize(questions.size());
        all->missing = questions.size();
        all->done = std::move(done);
        for (std::size_t i = 0; i < questions.size(); ++i) {
            step s;
            s.is = step_kind::peek;
            s.access_key_id = questions[i].access_key_id;
            s.limits = questions[i].limits;
            s.amount = {0, 0, 0};
            s.peeked = all;
            s.place = i;
            if (!push_if_up(s)) gather(s, share_.peek(questions[i]));
        }
    }

    void preload(const std::string& access_key_id, const limit& budget,
                 std::int64_t used) override {
        auto one = budget;
        one.cap = std::max<std::int64_t>(one.cap, 1);
        const auto limits = limit_set::make({one});
        if (!limits || budget.kind != limit_kind::budget) return;
        auto s = step_of(step_kind::preload, lease_ref{access_key_id, ""});
        s.limits = *limits;
        s.amount.requests = used;
        push(std::move(s));
    }

    void forget(const std::string& access_key_id) override {
        push(step_of(step_kind::forget, lease_ref{access_key_id, ""}));
    }

    void sweep() override {
        for (std::size_t i = 0; i < shard_count && !away(); ++i)
            push_sweep(i);
    }

    [[nodiscard]] std::unique_ptr<admission> lane(net::loop& on) override {
        return std::make_unique<admission_lane>(on, *this);
    }

    void take_over(step s) override {
        if (s.is == step_kind::admit) {
            if (!push_if_up(s)) decide_here(std::move(s));
        } else if (s.is == step_kind::settle) {
            settle({s.access_key_id, s.ledger_id}, s.amount);
        } else if (s.is == step_kind::release) {
            release({s.access_key_id, s.ledger_id});
        }
    }

    void ends(const step& s) override {
        if (!share_.in_use()) return;
        const lease_ref which{s.access_key_id, s.ledger_id};
        if (s.is == step_kind::settle)
            share_.settle(which, s.amount);
        else
            share_.release(which);
    }

    void connect(std::shared_ptr<lane_door> door) override {
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            doors_.push_back(std::move(door));
            wake = std::exchange(asleep_, false);
        }
        if (wake) ring();
    }

    void moved(std::string_view answer) override {
        const auto to = read_redirection(answer);
        if (to && !to->ask && !to->to.host.empty() && to_.cluster != nullptr)
            to_.cluster->moved(to->slot, to->to);
    }

    void note(const step& s, const admit_answer& answer) override {
        share_.saw(s.access_key_id, s.limits, answer.states);
        by_lanes_.fetch_add(1, std::memory_order_relaxed);
    }

    [[nodiscard]] const clock_source& store_time() const noexcept override { return time_; }
    [[nodiscard]] std::chrono::milliseconds call_timeout() const noexcept override {
        return options_.call_timeout;
    }

    [[nodiscard]] admission_health health() const override {
        const std::lock_guard lock(mutex_);
        auto out = health_;
        out.decided += by_lanes_.load(std::memory_order_relaxed);
        out.up = !away_;
        out.waiting = queue_.size() + under_way_ + held_count_;
        return out;
    }

  private:
    using reply_list = std::vector<reply>;
    struct line {
        std::unique_ptr<connection> on;
        std::deque<step> sent;  // in `out` or further
        pipeline out;
    };

    // --- callers' threads ----------------------------------------------------------------------
    bool away() const {
        const std::lock_guard lock(mutex_);
        return away_;
    }

    void ring() const noexcept {
        const std::uint64_t one = 1;
        static_cast<void>(::write(wake_.get(), &one, sizeof one));
    }

    // Under the lock. Whether the thread must be woken.
    bool append(step&& s) {
        // What keeps leases, and this replica, alive is little and never too much.
        const bool vital = !away_ && (s.is == step_kind::renew || s.is == step_kind::beat);
        if (!vital && queue_.size() + under_way_ >= options_.max_waiting) {
            ++health_.dropped;
            return false;
        }
        if (s.turn == 0) s.turn = ++turns_;
        queue_.push_back(std::move(s));
        return std::exchange(asleep_, false);
    }

    void push(step s) {
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            wake = append(std::move(s));
        }
        if (wake) ring();
    }

    // Leaves `s` as it was if Redis is away or too far behind.
    bool push_if_up(step& s) {
        bool wake = false;
        {
            const std::lock_guard lock(mutex_);
            if (away_ || queue_.size() + under_way_ >= options_.max_waiting) return false;
            s.deadline = time_.mono() + options_.call_timeout;
            wake = append(std::move(s));
        }
        if (wake) ring();
        return true;
    }

    void push_sweep(std::size_t shard) {
        step s;
        s.is = step_kind::sweep;
        s.shard = shard;
        push(std::move(s));
    }

    // Any thread.
    void decide_here(step s) {
        admit_answer answer;
        answer.local = true;
        if (!options_.refuse_when_away) {
            answer =
                share_.admit({s.ledger_id, s.access_key_id, s.limits, s.amount, s.bounded, s.ttl});
            const std::lock_guard lock(mutex_);
            ++health_.local;
        }
        auto done = std::move(s.decided);
        if (answer.admitted()) {
            s.is = step_kind::book;
            s.decided = nullptr;
            s.deadline = mono_time::max();
            s.turn = 0;
            push(std::move(s));
        }
        done(std::move(answer));
    }

    static void gather(const step& s, usage_answer answer) {
        s.peeked->answers[s.place] = std::move(answer);
        if (--s.peeked->missing == 0) s.peeked->done(std::move(s.peeked->answers));
    }

    // --- the thread ------------------------------------------------------------------------------
    void run() {
        while (!stopping_ || !lines_.empty()) {
            if (!lines_.empty()) {
                if (!serve()) break;
            } else {
                nap(next_try_);
                if (!stopping_ && time_.mono() >= next_try_) connect();
            }
        }
        fail_all();
    }

    // One turn of the connections; false: everything is confirmed, or took too long, and we stop.
    bool serve() {
        const auto now = time_.mono();
        if (now >= next_beat_) {
            next_beat_ = now + beat_every;
            step s;
            s.is = step_kind::beat;
            push(std::move(s));
        }
        take_steps(now);
        auto next = next_beat_;
        for (auto& l : lines_) {
            replies_.clear();
            auto went = l.on->turn(l.out.unsent(), replies_);
            for (auto& r : replies_)
                if (went) went = answered(l, std::move(r));
            if (went && !l.sent.empty() && now >= l.sent.front().deadline)
                went = error(errc::store_unavailable, "no answer in time", error_source::store);
            if (!went) {
                lost(went.error());
                return true;
            }
            if (!l.sent.empty()) next = std::min(next, l.sent.front().deadline);
        }
        if (stopping_ && flying_ == 0) {
            goodbye_until_ = std::min(goodbye_until_, now + longest_goodbye);
            next = std::min(next, goodbye_until_);
            const std::lock_guard lock(mutex_);
            if (queue_.empty() && (held_.empty() || now >= goodbye_until_)) return false;
        }
        next = std::min(next, held_.next_try());
        nap(std::min(next, open_doors(now)));
        return true;
    }

    // Under the lock. A shard that moves for long fills its own room, not the queue's.
    void hold(step s, mono_time now) {
        if (held_.size() >= options_.max_waiting && held_.must_wait(s)) {
            ++health_.dropped;
            return;
        }
        held_.hold(std::move(s), now);
    }

    // Whether Redis is still to be told of what was decided here while it was away.
    [[nodiscard]] bool tells_backlog() const {
        const auto old = [&](const std::deque<step>& in) {
            return !in.empty() && in.front().turn <= told_until_;
        };
        if (std::ranges::any_of(lines_, old, &line::sent)) return true;
        const std::lock_guard lock(mutex_);
        return old(queue_);
    }

    // Connections for the lanes that want some. When to try again, if ever.
    mono_time open_doors(mono_time now) {
        // Lanes that come in while steps are held back, or a backlog goes out, would overtake them.
        if (!held_.empty() || tells_backlog()) return mono_time::max();
        for (auto& one : dialler_.take()) {
            if (one.lines) {
                one.door->hand_in(std::move(*one.lines), wire_);
                continue;
            }
            next_door_ = now + redis_.min_backoff;
            const std::lock_guard lock(mutex_);
            doors_.push_back(std::move(one.door));
        }
        std::vector<std::shared_ptr<lane_door>> all;
        {
            const std::lock_guard lock(mutex_);
            if (doors_.empty() || stopping_) return mono_time::max();
            if (now < next_door_) return next_door_;
            all.swap(doors_);
        }
        dialler_.want(std::move(all));
        return mono_time::max();
    }

    [[nodiscard]] pipeline scripts() const {
        pipeline hello;
        wire_.load(hello);
        return hello;
    }

    // What waits becomes commands.
    void take_steps(mono_time now) {
        std::vector<step> late;
        taken_.clear();
        {
            const std::lock_guard lock(mutex_);
            held_.try_again(now, queue_);
            while (!queue_.empty() && flying_ + taken_.size() < max_under_way) {
                auto& s = queue_.front();
                if (now >= s.deadline) {
                    late.push_back(std::move(s));
                } else if (held_.must_wait(s)) {
                    hold(std::move(s), now);
                } else {
                    s.deadline = std::min(s.deadline, now + options_.call_timeout);
                    taken_.push_back(std::move(s));
                }
                queue_.pop_front();
            }
            flying_ += taken_.size();
            under_way_ = flying_;
            held_count_ = held_.size();
        }
        for (auto& s : late)
            without_redis(std::move(s));
        const auto store_ms = unix_ms(time_.wall());
        for (auto& s : taken_) {
            line& l = lines_[lines_.size() == 1 ? 0 : line_of_[place_of(s)]];
            wire_.encode(s, store_ms, l.out);
            l.sent.push_back(std::move(s));
        }
    }

    // Until a socket or a caller has something, or `until`.
    void nap(mono_time until) {
        {
            const std::lock_guard lock(mutex_);
            under_way_ = flying_;
            held_count_ = held_.size();
            // Away, only the end and the next try are waited for.
            if (!queue_.empty() && flying_ < max_under_way && !lines_.empty()) return;
            asleep_ = !lines_.empty();
        }
        if (stopping_ && lines_.empty()) return;
        fds_.assign(1, {wake_.get(), POLLIN, 0});
        for (auto& l : lines_)
            fds_.push_back({l.on->descriptor(),
                            static_cast<short>(l.out.unsent().empty() ? POLLIN : POLLIN | POLLOUT),
                            0});
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - time_.mono());
        ::poll(fds_.data(), fds_.size(),
               static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 10'000)));
        std::uint64_t rung = 0;
        static_cast<void>(::read(wake_.get(), &rung, sizeof rung));
        const std::lock_guard lock(mutex_);
        asleep_ = false;
    }

    result<void> answered(line& l, reply r) {
        if (l.sent.empty()) return error(errc::internal, "an answer to nothing");
        const bool moves = r.is_error() && means_shard_moves(r.text);
        if (r.is_error() && !moves && (means_not_now(r.text) || r.text.starts_with("NOSCRIPT"))) {
            moved(r.text);
            return error(errc::store_unavailable, "Redis: " + r.text, error_source::store);
        }
        auto s = std::move(l.sent.front());
        l.sent.pop_front();
        --flying_;
        // What is asked is decided by our share, what counts is tried again, in order.
        if (moves) {
            if (!held_steps::can_hold(s)) {
                without_redis(std::move(s));
            } else {
                const std::lock_guard lock(mutex_);
                hold(std::move(s), time_.mono());
            }
            return {};
        }
        if (!held_.empty()) shard_answers(s);
        if (r.is_error()) {
            // Not this server's state but this step: sending it again would not help.
            log::event(log::level::error, "admission.failed", {{"reason", r.text}});
            const std::lock_guard lock(mutex_);
            ++health_.dropped;
        }
        if (s.is == step_kind::beat) {
            beaten(s, r);
        } else if (s.is == step_kind::sweep && r.number == sweep_keys && !stopping_) {
            push_sweep(s.shard);
        } else if (s.decided || s.peeked) {
            decided(std::move(s), r);
        }
        return {};
    }

    // If that was the step that was tried, its shard has arrived. When all have, Redis is told what
    // our share let through, and it begins anew.
    void shard_answers(const step& s) {
        const std::lock_guard lock(mutex_);
        held_.taken(s, queue_);
        if (held_.empty()) share_.start_anew();
    }

    void decided(step s, const reply& r) {
        admit_answer answer;
        std::int64_t leases = 0;
        if (!admission_wire::read(r, *s.limits, answer, leases)) return without_redis(std::move(s));
        share_.saw(s.access_key_id, s.limits, answer.states);
        if (s.peeked) return gather(s, {true, std::move(answer.states), leases});
        {
            const std::lock_guard lock(mutex_);
            ++health_.decided;
        }
        s.decided(std::move(answer));
    }

    void beaten(const step& s, const reply& r) {
        if (r.items.size() != 3) return;
        const auto took = time_.mono() - (s.deadline - options_.call_timeout);
        time_.told(r.items[0].as_number(), took / 2);
        const auto count = static_cast<std::uint64_t>(r.items[1].as_number());
        share_.set_replicas(count, static_cast<std::uint64_t>(r.items[2].as_number()));
        const std::lock_guard lock(mutex_);
        health_.replicas = std::max<std::uint64_t>(count, 1);
        health_.latency = std::chrono::duration_cast<std::chrono::microseconds>(took);
    }

    // A step that Redis will not decide. What only counts is kept for later.
    void without_redis(step s) {
        if (s.is == step_kind::admit) return decide_here(std::move(s));
        if (s.is == step_kind::peek) return gather(s, share_.peek({s.access_key_id, s.limits}));
        s.deadline = mono_time::max();
        if (held_steps::can_hold(s)) push(std::move(s));
    }

    // Under the lock: what was sent, what is held back, and what waits, in the order of their
    // turns.
    std::deque<step> everything() {
        std::deque<step> all;
        for (auto& l : lines_)
            std::ranges::move(l.sent, std::back_inserter(all));
        lines_.clear();
        held_.give_back(all);
        std::ranges::move(queue_, std::back_inserter(all));
        queue_.clear();
        std::ranges::sort(all, {}, &step::turn);
        flying_ = 0;
        under_way_ = held_count_ = 0;
        return all;
    }

    void lost(const error& why) {
        std::deque<step> all;
        {
            const std::lock_guard lock(mutex_);
            if (!away_)
                log::event(log::level::error, "admission.away",
                           {{"server", to_.name()}, {"reason", why.context}});
            away_ = true;
            health_.reason = why.context;
            // What only counts stays, before whatever comes from now on. Already in order: a try to
            // connect has failed again.
            const bool only_waits = lines_.empty() && held_.empty();
            for (auto& s : only_waits ? std::exchange(queue_, {}) : everything()) {
                if (!held_steps::can_hold(s)) {
                    all.push_back(std::move(s));
                    continue;
                }
                s.deadline = mono_time::max();
                queue_.push_back(std::move(s));
            }
        }
        next_try_ = time_.mono() + backoff_;
        backoff_ = std::min(backoff_ * 2, redis_.max_backoff);
        for (auto& s : all)
            without_redis(std::move(s));
    }

    void connect() {
        const auto until = std::chrono::steady_clock::now() + redis_.connect_timeout;
        if (to_.cluster != nullptr)
            if (const auto told = to_.cluster->refresh(to_, until); !told)
                return lost(told.error());
        reply_list loaded;
        std::size_t others = 0;
        auto made = dial_shards(to_, scripts(), until, &loaded, &others);
        if (!made) return lost(made.error());
        if (!wire_.learn(loaded))
            return lost(
                error(errc::store_unavailable, "Redis takes no scripts", error_source::store));
        if (auto up = first_beat(*made->open[others], until); !up) return lost(up.error());
        for (auto& on : made->open)
            lines_.emplace_back().on = std::move(on);
        std::ranges::copy(made->of_shard, line_of_.begin());
        line_of_[shard_count] = static_cast<std::uint8_t>(others);
        share_.start_anew();
        backoff_ = redis_.min_backoff;
        next_beat_ = time_.mono() + beat_every;
        const std::lock_guard lock(mutex_);
        if (!health_.reason.empty())
            log::event(log::level::info, "admission.back", {{"server", to_.name()}});
        health_.reason.clear();
        away_ = false;
        told_until_ = turns_;
    }

    // Before anything is decided, Redis' time and the number of replicas are known.
    result<void> first_beat(connection& on, deadline until) {
        step s;
        s.is = step_kind::beat;
        s.deadline = time_.mono() + options_.call_timeout;
        pipeline ask;
        wire_.encode(s, 0, ask);
        const auto told = on.exchange(ask, until);
        if (!told) return told.error();
        if (told->front().is_error())
            return error(errc::store_unavailable, "Redis: " + told->front().text,
                         error_source::store);
        beaten(s, told->front());
        return {};
    }

    // The end: whoever still waits is told.
    void fail_all() {
        std::deque<step> all;
        {
            const std::lock_guard lock(mutex_);
            away_ = true;
            all = everything();
        }
        for (auto& s : all) {
            if (s.decided) s.decided({});
            if (s.peeked) gather(s, {});
        }
    }

    const target to_;
    const redis_options redis_;
    const admission_options options_;
    store_clock time_;
    admission_wire wire_;
    local_share share_;
    const file wake_;
    std::atomic<bool> stopping_{false};

    mutable std::mutex mutex_;
    std::deque<step> queue_;      // not sent yet; while Redis is away, what it is to be told
    std::size_t under_way_ = 0;   // flying_, as callers may see it
    std::size_t held_count_ = 0;  // held_.size(), likewise: these stand in nobody else's way
    std::uint64_t turns_ = 0;
    bool away_ = true;
    bool asleep_ = false;
    admission_health health_;
    std::vector<std::shared_ptr<lane_door>> doors_;  // of lanes that have no connection
    std::atomic<std::uint64_t> by_lanes_{0};

    // The thread's own.
    std::vector<line> lines_;  // none: Redis is away
    std::array<std::uint8_t, step_places> line_of_{};
    std::uint64_t told_until_ = 0;  // turns up to this one were made while Redis was away
    std::size_t flying_ = 0;        // sent and not answered, on all lines
    held_steps held_;               // of shards that are moving
    mono_time goodbye_until_ = mono_time::max();
    std::vector<step> taken_;
    std::vector<reply> replies_;
    std::vector<pollfd> fds_;
    mono_time next_beat_{};
    mono_time next_try_{};
    mono_time next_door_{};
    std::chrono::milliseconds backoff_;
    lane_dialler dialler_;
    std::thread thread_;
};

}  // namespace redis

result<std::unique_ptr<admission>> open_redis_admission(const redis_options& redis,
                                                        const admission_options& options,
                                                        const clock_source& clock) {
    auto to = redis::parse_target(redis);
    if (!to) return to.error();
    return std::unique_ptr<admission>(
        std::make_unique<redis::redis_admission>(std::move(*to), redis, options, clock));
}

}  // namespace kw::store
