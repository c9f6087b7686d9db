// What one choice of a key costs, by strategy and size of the pool, with all keys usable and with
// nine of ten at rest.
#include <benchmark/benchmark.h>

#include "pool/selector.hpp"
#include "pool/strategy.hpp"

namespace {

using namespace kw;
using namespace kw::pool;

void pick(benchmark::State& run, const char* strategy, bool resting) {
    state_table states;
    group g;
    g.id = "g";
    g.strategy = strategy;
    std::vector<upstream_key> keys(static_cast<std::size_t>(run.range(0)));
    for (std::size_t i = 0; i < keys.size(); ++i) {
        keys[i].id = "uk_" + std::to_string(1'000'000 + i);
        keys[i].group_id = "g";
        keys[i].value = secret("sk-" + keys[i].id);
        keys[i].last_test = test_outcome::success;
        if (i % 3 != 0) keys[i].quota_tokens = std::int64_t{1} << 40;
    }
    const auto view = build({g}, std::move(keys), states);
    if (resting) {
        const auto members = view->find_group("g")->keys();
        for (std::size_t i = 0; i < members.size(); ++i)
            if (i % 10 != 0)
                states.get(members[i].slot)
                    ->set_gate(key_status::cooling, block_reason::rate_limit, forever);
    }
    selector select(states, random_source(1));
    pick_request r;
    r.model = "gpt-4o-mini";
    r.estimated_tokens = 500;
    r.now = mono_time(std::chrono::seconds(1000));
    // The first pick of a model sorts out which keys serve it.
    if (auto first = select.pick(*view, r); !first) run.SkipWithError("no key");
    for (auto _ : run) {
        auto p = select.pick(*view, r);
        p->use.settle(400);
        // one pick every 20 us: a refresh of the sample every 2,500 picks
        r.now += std::chrono::microseconds(20);
        benchmark::DoNotOptimize(p);
    }
}

const bool registered = [] {
    for (const auto& strategy : strategies::names())
        for (const bool resting : {false, true}) {
            const std::string name = std::string(strategy) + (resting ? "/90%_at_rest" : "");
            benchmark::RegisterBenchmark(
                name.c_str(), [kept = std::string(strategy),
                               resting](benchmark::State& s) { pick(s, kept.c_str(), resting); })
                ->RangeMultiplier(10)
                ->Range(10, 100'000);
        }
    return true;
}();

}  // namespace
