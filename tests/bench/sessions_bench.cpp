// What it costs that a client's session stays with its key.
#include <benchmark/benchmark.h>

#include "pool/selector.hpp"
#include "pool/sessions.hpp"
#include "usage/session_fields.hpp"

namespace {

using namespace kw;
using namespace kw::pool;

void name_and_find(benchmark::State& run) {
    session_table table;
    std::vector<std::string> names;
    for (int i = 0; i < 10'000; ++i)
        names.push_back("018f6c1e-7d3a-7c4b-9a51-" + std::to_string(1'000'000 + i));
    std::int64_t now = 1;
    std::size_t at = 0;
    for (auto _ : run) {
        const std::string& name = names[at++ % names.size()];
        const auto id = session_hash(7, name.data(), name.size());
        const auto slot = table.find(id, now);
        table.bind(id, slot == slot_id::none ? 3 : slot, now, now + 3'600'000'000'000, 65'536);
        now += 20'000;
    }
}
BENCHMARK(name_and_find);

void pick_key_of_session(benchmark::State& run) {
    state_table states;
    group g;
    g.id = "g";
    g.sessions = session_policy::named;
    std::vector<upstream_key> keys(static_cast<std::size_t>(run.range(0)));
    for (std::size_t i = 0; i < keys.size(); ++i) {
        keys[i].id = "uk_" + std::to_string(1'000'000 + i);
        keys[i].group_id = "g";
        keys[i].value = secret("sk-" + keys[i].id);
        keys[i].last_test = test_outcome::success;
    }
    const auto view = build({g}, std::move(keys), states);
    selector select(states, random_source(1));
    pick_request r;
    r.model = "gpt-4o-mini";
    r.session = session_policy::named;
    r.now = mono_time(std::chrono::seconds(1000));
    std::uint32_t slot = 0;
    for (auto _ : run) {
        r.session_slot = (slot += 7919) % static_cast<std::uint32_t>(run.range(0));
        auto p = select.pick(*view, r);
        p->use.settle(400);
        r.now += std::chrono::microseconds(20);
        benchmark::DoNotOptimize(p);
    }
}
BENCHMARK(pick_key_of_session)->Arg(10)->Arg(10'000);

void beginning_of_prompt(benchmark::State& run) {
    const std::string body =
        R"({"model":"m","messages":[{"role":"system","content":")" + std::string(3000, 's') +
        R"("},{"role":"user","content":"hello"},{"role":"assistant","content":")" +
        std::string(30'000, 'a') + R"("}]})";
    const auto fields = usage::read_request_fields(body);
    for (auto _ : run) {
        const auto [before, begin] = usage::prompt_beginning(body, *fields);
        auto id = session_hash(1, before.data(), before.size());
        id = session_hash(id, begin.data(), begin.size());
        benchmark::DoNotOptimize(id);
    }
}
BENCHMARK(beginning_of_prompt);

}  // namespace
