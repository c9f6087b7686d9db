// What one admission costs in memory: admitted and settled, refused, and with many access keys.
#include <benchmark/benchmark.h>

#include "store/admission.hpp"

namespace {

using namespace kw;
using namespace kw::store;

std::shared_ptr<const limit_set> limits(std::int64_t requests) {
    limit rpm;
    rpm.cap = requests;
    limit tpm;
    tpm.unit = limit_unit::tokens;
    tpm.cap = std::int64_t{1} << 50;
    limit money;
    money.kind = limit_kind::budget;
    money.unit = limit_unit::cost;
    money.period = budget_period::month;
    money.cap = std::int64_t{1} << 50;
    limit leases;
    leases.kind = limit_kind::concurrency;
    leases.cap = 1'000'000;
    return *limit_set::make({rpm, tpm, money, leases});
}

// One in flight at a time of each access key; 1,000 settled ids are remembered.
void admit_and_settle(benchmark::State& run) {
    manual_clock clock;
    admission_options options;
    options.keep_settled = std::chrono::milliseconds(1'000);
    const auto a = make_embedded_admission(options, clock);
    const auto keys = run.range(0);
    admit_request r;
    r.limits = limits(std::int64_t{1} << 40);
    r.reservation = {1, 1'000, 5'000};
    std::int64_t n = 0;
    bool passed = true;
    for (auto _ : run) {
        clock.advance(std::chrono::milliseconds(1));
        r.access_key_id = "ak_000000000000000000" + std::to_string(n % keys);
        r.ledger_id = "req_0000000000000" + std::to_string(n++);
        a->admit(r, [&](admit_answer got) { passed = passed && got.admitted(); });
        a->settle({r.access_key_id, r.ledger_id}, {1, 500, 2'500});
    }
    if (!passed) run.SkipWithError("refused");
}
BENCHMARK(admit_and_settle)->Arg(1)->Arg(1'000)->Arg(100'000);

void refuse(benchmark::State& run) {
    manual_clock clock;
    const auto a = make_embedded_admission({}, clock);
    admit_request r;
    r.ledger_id = "first";
    r.access_key_id = "ak_000000000000000000";
    r.limits = limits(1);
    a->admit(r, [](admit_answer) {});
    r.ledger_id = "second";
    for (auto _ : run)
        a->admit(r, [](admit_answer got) { benchmark::DoNotOptimize(got); });
}
BENCHMARK(refuse);

}  // namespace
