// One test, and the task that tests all keys.
#include "jobs/key_tester.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "core/log.hpp"

namespace kw::jobs {
namespace {

bool serving(const pool::key_state& s) noexcept {
    const auto status = s.status();
    return status == pool::key_status::active || status == pool::key_status::cooling;
}

}  // namespace

struct key_tester::run {
    struct host {
        bool passed = false;
        std::vector<pool::slot_id> failed;  // until a key of the host passes
    };
    pool::test_progress progress;
    std::vector<std::string> ids;
    std::size_t next = 0;
    std::size_t workers = 0;
    std::map<std::uint32_t, host> hosts;
};

key_tester::key_tester(pool::health& health, pool::state_table& states, const clock_source& clock,
                       probe_finder find, probe_call call, random_source random)
    : health_(health),
      states_(states),
      clock_(clock),
      find_(std::move(find)),
      call_(std::move(call)),
      random_(random) {}
key_tester::~key_tester() = default;

net::task<probe_answer> key_tester::ask(std::string key_id) {
    auto subject = find_(key_id);
    if (!subject) co_return probe_answer{.failure = errc::store_not_found};
    co_return co_await call_(std::move(*subject));
}

void key_tester::tell(pool::slot_id slot, pool::probe_outcome outcome) {
    health_.on_probe_result(slot, outcome, clock_.mono(), clock_.wall());
}

void key_tester::test(std::string key_id, std::function<void(const pool::key_test&)> done) {
    net::spawn("key test", test_one(std::move(key_id), std::move(done)));
}

net::task<void> key_tester::test_one(std::string key_id,
                                     std::function<void(const pool::key_test&)> done) {
    const probe_answer answer = co_await ask(key_id);
    pool::key_test out{answer.outcome, answer.status, answer.failure, {}};
    if (const auto slot = states_.find(key_id)) {
        if (answer.outcome != pool::probe_outcome::inconclusive) tell(*slot, answer.outcome);
        if (const auto* state = states_.get(*slot)) out.after = state->status();
    }
    log::event(log::level::info, "key.tested",
               {{"id", key_id}, {"status", answer.status}, {"outcome", to_string(answer.outcome)}});
    done(out);
}

pool::test_progress key_tester::test_all(std::vector<std::string> key_ids) {
    if (!runs_.empty() && !runs_.back()->progress.ended) return runs_.back()->progress;
    auto r = std::make_shared<run>();
    r->progress.id = make_id("task_", clock_.wall(), random_);
    r->progress.started = clock_.wall();
    r->progress.total = key_ids.size();
    r->ids = std::move(key_ids);
    r->workers = workers_.size();
    if (runs_.size() == kept) runs_.pop_front();
    runs_.push_back(r);
    for (auto& worker : workers_) {
        worker.reset();
        worker.start("key tests", work(r));
    }
    return r->progress;
}

std::vector<pool::test_progress> key_tester::tasks() const {
    std::vector<pool::test_progress> out;
    for (const auto& r : runs_)
        out.push_back(r->progress);
    return out;
}

std::optional<pool::test_progress> key_tester::task(std::string_view id) const {
    const auto r = std::ranges::find(
        runs_, id, [](const auto& each) -> std::string_view { return each->progress.id; });
    if (r == runs_.end()) return std::nullopt;
    return (*r)->progress;
}

net::task<void> key_tester::work(std::shared_ptr<run> r) {
    while (r->next < r->ids.size()) {
        const std::string id = r->ids[r->next++];
        const probe_answer answer = co_await ask(id);
        count(*r, id, answer);
    }
    if (--r->workers == 0) finish(*r);
}

void key_tester::count(run& r, const std::string& key_id, const probe_answer& answer) {
    auto& p = r.progress;
    ++p.tested;
    if (answer.outcome == pool::probe_outcome::inconclusive) {
        ++p.inconclusive;
        return;
    }
    const bool passed = answer.outcome == pool::probe_outcome::passed;
    ++(passed ? p.success : p.failed);
    const auto slot = states_.find(key_id);
    const auto* state = slot ? states_.get(*slot) : nullptr;
    if (state == nullptr) return;
    auto& host = r.hosts[state->host.load(std::memory_order_relaxed)];
    if (passed) {
        tell(*slot, pool::probe_outcome::passed);
        host.passed = true;
        for (const auto failed : std::exchange(host.failed, {}))
            take_out(r, failed);
    } else if (host.passed) {
        take_out(r, *slot);
    } else {
        host.failed.push_back(*slot);
    }
}

void key_tester::take_out(run& r, pool::slot_id slot) {
    const auto* state = states_.get(slot);
    if (state == nullptr) return;
    const bool served = serving(*state);
    tell(slot, pool::probe_outcome::failed);
    if (served && !serving(*state)) ++r.progress.banned;
}

void key_tester::finish(run& r) {
    auto& p = r.progress;
    for (auto& [index, host] : r.hosts) {
        if (host.failed.size() == 1) {
            take_out(r, host.failed.front());
        } else if (!host.failed.empty()) {
            p.withheld += host.failed.size();
            log::event(log::level::warn, "keys.test_withheld",
                       {{"host", states_.host_name(index)}, {"keys", host.failed.size()}});
        }
    }
    r.hosts.clear();
    r.ids = {};
    p.ended = clock_.wall();
    log::event(log::level::info, "keys.tested",
               {{"task", p.id},
                {"total", p.total},
                {"success", p.success},
                {"failed", p.failed},
                {"inconclusive", p.inconclusive},
                {"banned", p.banned}});
}

}  // namespace kw::jobs
