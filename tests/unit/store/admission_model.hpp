// What admission means, said once more in the plainest way: every booking ever made is kept, and
// everything is worked out from the list each time. And a driver that compares an implementation
// with it over random steps.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "store/admission.hpp"

namespace kw::store::test {

inline admit_answer ask(admission& a, const admit_request& request) {
    auto told = std::make_shared<std::promise<admit_answer>>();
    auto answer = told->get_future();
    a.admit(request, [told](admit_answer got) { told->set_value(std::move(got)); });
    return answer.get();
}

inline std::vector<usage_answer> look(admission& a, std::vector<usage_question> questions) {
    auto told = std::make_shared<std::promise<std::vector<usage_answer>>>();
    auto answer = told->get_future();
    a.peek(questions, [told](std::vector<usage_answer> got) { told->set_value(std::move(got)); });
    return answer.get();
}

class admission_model {
  public:
    explicit admission_model(const admission_options& o)
        : keep_settled_(o.keep_settled.count()), keep_expired_(o.keep_expired.count()) {}

    admit_answer admit(std::int64_t now, const admit_request& r) {
        admit_answer out;
        out.is = admit_answer::outcome::admitted;
        if (known(r.ledger_id, now) == nullptr) {
            check(now, r, out);
            if (out.admitted()) book(now, r);
        }
        out.states = states(now, *r.limits);
        return out;
    }

    void settle(std::int64_t now, const std::string& id, const amounts& real) {
        auto* const b = known(id, now);
        if (b == nullptr || b->settled_at >= 0) return;
        b->settled_at = now;
        b->amount = real;
    }

    void release(std::int64_t now, const std::string& id) {
        if (auto* const b = known(id, now)) b->released = true;
    }

    void renew(std::int64_t now, const std::string& id, std::int64_t ttl) {
        auto* const b = known(id, now);
        if (b == nullptr || b->settled_at >= 0) return;
        if (b->counted) b->lease_until = now;
        if (!b->counted && !b->released) b->lease_until = now + ttl;
    }

    usage_answer peek(std::int64_t now, const limit_set& limits) const {
        return {true, states(now, limits), leases(now)};
    }

    void preload(std::int64_t now, const limit& l, std::int64_t used) {
        const auto name = cell_name(l);
        const auto begin = bounds_of(l, now).begin;
        for (const auto& b : bookings_)
            if (const auto* in = b.in.of(name); in != nullptr && *in == begin) return;
        booking b;
        b.amount = {used, used, used};
        b.in.all.emplace_back(name, begin);
        bookings_.push_back(b);
    }

  private:
    // A few by name; a map would do, slower.
    struct marks {
        std::vector<std::pair<std::string, std::int64_t>> all;
        [[nodiscard]] const std::int64_t* of(const std::string& name) const {
            for (const auto& m : all)
                if (m.first == name) return &m.second;
            return nullptr;
        }
    };
    struct booking {
        std::string id;  // "": preloaded
        amounts amount;
        std::int64_t lease_until = 0;  // counted: when it was admitted or renewed
        std::int64_t settled_at = -1;
        bool released = false;
        bool bounded = true;
        bool counted = false;
        // For each limit by name: the part, or the begin of the window or period.
        marks in;
    };

    booking* known(const std::string& id, std::int64_t now) {
        for (auto b = bookings_.rbegin(); b != bookings_.rend(); ++b) {
            if (b->id != id) continue;
            const auto until = b->settled_at >= 0 ? b->settled_at + keep_settled_
                               : b->counted       ? b->lease_until + keep_settled_
                                                  : b->lease_until + keep_expired_;
            return now < until ? &*b : nullptr;
        }
        return nullptr;
    }

    std::int64_t leases(std::int64_t now) const {
        return std::count_if(bookings_.begin(), bookings_.end(), [&](const booking& b) {
            return b.settled_at < 0 && !b.released && now < b.lease_until;
        });
    }

    static std::int64_t of(const booking& b, limit_unit unit) {
        return unit == limit_unit::requests ? b.amount.requests
               : unit == limit_unit::tokens ? b.amount.tokens
                                            : b.amount.cost;
    }

    std::int64_t fixed_begin(const std::string& name) const {
        std::int64_t begin = -1;
        for (const auto& b : bookings_)
            if (const auto* in = b.in.of(name)) begin = std::max(begin, *in);
        return begin;
    }

    // The youngest mark that counts at `now`, and the oldest.
    std::pair<std::int64_t, std::int64_t> counted(std::int64_t now, const limit& l,
                                                  const std::string& name) const {
        if (l.kind == limit_kind::sliding) {
            const auto part = now / part_ms(l.length);
            return {part - 60, part};
        }
        if (l.kind == limit_kind::budget) {
            const auto begin = bounds_of(l, now).begin;
            return {begin, begin};
        }
        const auto begin = fixed_begin(name);
        return begin >= 0 && now < begin + l.length.count()
                   ? std::pair(begin, begin)
                   : std::pair<std::int64_t, std::int64_t>(1, 0);
    }

    std::int64_t used(std::int64_t now, const limit& l, const std::string& name,
                      std::int64_t* youngest = nullptr) const {
        if (l.kind == limit_kind::concurrency) return leases(now);
        const auto [from, to] = counted(now, l, name);
        std::int64_t sum = 0;
        for (const auto& b : bookings_) {
            const auto* in = b.in.of(name);
            if (in == nullptr || *in < from || *in > to) continue;
            sum += of(b, l.unit);
            if (youngest != nullptr) *youngest = std::max(*youngest, *in);
        }
        return sum;
    }

    // When a mark stops counting; 0: never.
    static std::int64_t end_of(const limit& l, std::int64_t mark) {
        if (l.kind == limit_kind::sliding) return (mark + 61) * part_ms(l.length);
        if (l.kind == limit_kind::fixed) return mark + l.length.count();
        if (l.kind == limit_kind::budget) return bounds_of(l, mark).end;
        return 0;
    }

    std::vector<limit_state> states(std::int64_t now, const limit_set& limits) const {
        std::vector<limit_state> out;
        for (std::size_t i = 0; i < limits.items().size(); ++i) {
            const auto& l = limits.items()[i];
            std::int64_t youngest = -1;
            limit_state s;
            s.cap = l.cap;
            s.used = used(now, l, limits.names()[i], &youngest);
            const auto end = s.used > 0 ? end_of(l, youngest) : 0;
            s.reset_in = std::chrono::milliseconds(end > 0 ? end - now : 0);
            out.push_back(s);
        }
        return out;
    }

    void check(std::int64_t now, const admit_request& r, admit_answer& out) const {
        const auto& items = r.limits->items();
        for (std::size_t i = 0; i < items.size(); ++i) {
            const auto& name = r.limits->names()[i];
            if (used(now, items[i], name) < items[i].cap) continue;
            out.is = admit_answer::outcome::refused;
            out.refused_by = i;
            if (items[i].kind == limit_kind::concurrency) return;
            // The first moment at which something stops counting and enough has.
            std::int64_t best = 0;
            const auto [from, to] = counted(now, items[i], name);
            for (const auto& b : bookings_) {
                const auto* in = b.in.of(name);
                if (in == nullptr || *in < from || *in > to) continue;
                const auto end = end_of(items[i], *in);
                const bool enough = items[i].kind != limit_kind::sliding ||
                                    used(end, items[i], name) < items[i].cap;
                if (end > 0 && enough && (best == 0 || end < best)) best = end;
            }
            out.retry_in = std::chrono::milliseconds(best > 0 ? best - now : 0);
            return;
        }
        const bool other = std::any_of(bookings_.begin(), bookings_.end(), [&](const booking& b) {
            return !b.bounded && b.settled_at < 0 && now < b.lease_until;
        });
        if (r.bounded || !other) return;
        for (std::size_t i = 0; i < items.size(); ++i) {
            const auto& l = items[i];
            if (l.kind != limit_kind::budget || l.unit == limit_unit::requests) continue;
            const auto left = l.cap - used(now, l, r.limits->names()[i]);
            const auto size =
                l.unit == limit_unit::tokens ? r.reservation.tokens : r.reservation.cost;
            if (10 * left > l.cap && left > 10 * size) continue;
            out.is = admit_answer::outcome::waits;
            out.refused_by = i;
            return;
        }
    }

    void book(std::int64_t now, const admit_request& r) {
        booking b;
        b.id = r.ledger_id;
        b.amount = r.reservation;
        b.counted =
            std::all_of(r.limits->items().begin(), r.limits->items().end(), [](const limit& l) {
                return l.unit == limit_unit::requests && l.kind != limit_kind::concurrency;
            });
        b.lease_until = b.counted ? now : now + r.lease_ttl.count();
        b.bounded = r.bounded || b.counted;
        for (std::size_t i = 0; i < r.limits->items().size(); ++i) {
            const auto& l = r.limits->items()[i];
            const auto& name = r.limits->names()[i];
            if (l.kind == limit_kind::concurrency) continue;
            const auto [from, to] = counted(now, l, name);
            b.in.all.emplace_back(name, l.kind == limit_kind::fixed && from > to ? now : to);
        }
        bookings_.push_back(b);
    }

    const std::int64_t keep_settled_;
    const std::int64_t keep_expired_;
    std::vector<booking> bookings_;
};

inline limit random_limit(random_source& random) {
    limit l;
    l.kind = static_cast<limit_kind>(random.below(4));
    l.unit = static_cast<limit_unit>(random.below(3));
    l.cap = static_cast<std::int64_t>(1 + random.below(12));
    if (l.unit != limit_unit::requests) l.cap *= 100;
    if (random.below(8) == 0) l.cap *= 9'007'199'254'740'993 / 1'000'000;  // hardly a limit
    if (l.kind == limit_kind::concurrency) {
        l.unit = limit_unit::requests;
        l.cap = static_cast<std::int64_t>(1 + random.below(6));
    }
    constexpr std::int64_t lengths[] = {1'000, 1'001, 7'000, 60'000, 3'600'000};
    l.length = std::chrono::milliseconds(lengths[random.below(5)]);
    l.period = static_cast<budget_period>(random.below(4));
    l.utc_offset = std::chrono::minutes(60 * static_cast<std::int64_t>(random.below(3)) - 60);
    return l;
}

inline std::shared_ptr<const limit_set> random_limits(random_source& random) {
    std::vector<limit> out(1 + random.below(5));
    const bool counts_only = random.below(4) == 0;
    for (auto& l : out) {
        do
            l = random_limit(random);
        while (counts_only &&
               (l.unit != limit_unit::requests || l.kind == limit_kind::concurrency));
    }
    return *limit_set::make(std::move(out));
}

inline std::string text_of(const std::vector<limit_state>& states, const limit_set& limits) {
    std::string out;
    for (std::size_t i = 0; i < states.size(); ++i)
        out += "[" + limits.names()[i] + ": " + std::to_string(states[i].used) + " of " +
               std::to_string(states[i].cap) + ", reset in " +
               std::to_string(states[i].reset_in.count()) + "] ";
    return out;
}

inline std::string verdict_of(const admit_answer& a) {
    return "outcome " + std::to_string(static_cast<int>(a.is)) + " by " +
           std::to_string(a.refused_by) + ", again in " + std::to_string(a.retry_in.count());
}

// Cheaper than an assertion a step.
inline void same_states(const std::vector<limit_state>& got, const std::vector<limit_state>& wanted,
                        const limit_set& limits) {
    if (got == wanted) return;
    INFO("got " << text_of(got, limits));
    FAIL("wanted " << text_of(wanted, limits));
}

// Steps in which both differ end the test. `set_time` gives the implementation its time.
inline void compare_with_model(admission& tested, const admission_options& options,
                               const std::function<void(std::int64_t)>& set_time, int steps,
                               std::uint64_t seed) {
    constexpr int steps_a_key = 60;
    random_source random(seed);
    std::int64_t now = 1'767'268'800'000;
    std::uint64_t admitted = 0;
    std::uint64_t refused = 0;
    for (int done = 0; done < steps;) {
        admission_model model(options);
        const auto key = "ak" + std::to_string(done);
        const std::shared_ptr<const limit_set> sets[] = {random_limits(random),
                                                         random_limits(random)};
        for (int i = 0; i < steps_a_key && done < steps; ++i, ++done) {
            constexpr std::uint64_t strides[] = {1, 30, 1'000, 20'000, 4'000'000};
            if (random.below(3) != 0)
                now += static_cast<std::int64_t>(random.below(strides[random.below(5)]));
            set_time(now);
            const auto& limits = sets[random.below(8) == 0 ? 1 : 0];
            const auto id = "x" + std::to_string(random.below(16));
            const lease_ref which{key, id};
            const amounts some{1, static_cast<std::int64_t>(random.below(250)),
                               static_cast<std::int64_t>(random.below(250))};
            const std::chrono::milliseconds ttl(100 + random.below(30'000));
            switch (random.below(10)) {
                case 0:
                    tested.release(which);
                    model.release(now, id);
                    break;
                case 1:
                    tested.renew({which, {key, "x1"}}, ttl);
                    model.renew(now, id, ttl.count());
                    model.renew(now, "x1", ttl.count());
                    break;
                case 2:
                case 3: {
                    const amounts real{static_cast<std::int64_t>(random.below(2)), some.tokens,
                                       some.cost};
                    tested.settle(which, real);
                    model.settle(now, id, real);
                    break;
                }
                case 4:
                    tested.sweep();
                    break;
                case 5: {
                    const auto& l = limits->items()[random.below(limits->items().size())];
                    if (l.kind != limit_kind::budget || random.below(3) != 0) break;
                    tested.preload(key, l, some.tokens);
                    model.preload(now, l, some.tokens);
                    break;
                }
                default: {
                    admit_request r{id, key, limits, some, random.below(4) != 0, ttl};
                    const auto got = ask(tested, r);
                    const auto wanted = model.admit(now, r);
                    ++(got.admitted() ? admitted : refused);
                    if (got.is != wanted.is || got.refused_by != wanted.refused_by ||
                        got.retry_in != wanted.retry_in)
                        FAIL("step " << done << ": " << verdict_of(got) << " for "
                                     << verdict_of(wanted));
                    same_states(got.states, wanted.states, *limits);
                }
            }
            if (random.below(4) != 0) continue;
            const auto got = look(tested, {{key, limits}});
            const auto wanted = model.peek(now, *limits);
            if (got.size() != 1 || got[0].leases != wanted.leases)
                FAIL("step " << done << ": " << got.at(0).leases << " leases for "
                             << wanted.leases);
            same_states(got[0].states, wanted.states, *limits);
        }
        tested.forget(key);
    }
    // The steps were about something.
    CHECK(admitted > static_cast<std::uint64_t>(steps) / 20);
    CHECK(refused > static_cast<std::uint64_t>(steps) / 20);
}

}  // namespace kw::store::test
