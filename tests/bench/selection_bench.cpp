// What one choice of a key costs, by strategy and size of the pool.
#include <benchmark/benchmark.h>

#include "pool/selector.hpp"
#include "pool/strategy.hpp"

namespace {

using namespace kw;
using namespace kw::pool;

void pick(benchmark::State& run, const char* strategy) {
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
    selector select(states, random_source(1));
    pick_request r;
    r.model = "gpt-4o-mini";
    r.estimated_tokens = 500;
    r.now = mono_time(std::chrono::seconds(1000));
    for (auto _ : run) {
        auto p = select.pick(*view, r);
        p->use.settle(400);
        // one pick every 20 us: a refresh of the sample every 2,500 picks
        r.now += std::chrono::microseconds(20);
        benchmark::DoNotOptimize(p);
    }
}

const bool registered = [] {
    for (const auto& name : strategies::names()) {
        const auto kept = new std::string(name);  // until the program ends
        benchmark::RegisterBenchmark(name.c_str(),
                                     [kept](benchmark::State& s) { pick(s, kept->c_str()); })
            ->Arg(10)
            ->Arg(64)
            ->Arg(1000)
            ->Arg(10'000)
            ->Arg(100'000);
    }
    return true;
}();

}  // namespace
