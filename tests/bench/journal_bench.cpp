// What the journal costs an exchange: its start and its end, in mapped memory.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "store/journal.hpp"

namespace {

using namespace kw;
using namespace kw::store;

ledger_record record_of(std::string_view id) {
    ledger_record r;
    r.id = id;
    r.started = wall_time(std::chrono::seconds(1'800'000'000));
    r.access_key_id = "ak_1qh7x7vr89s2pfh9gbmnx";
    r.upstream_key_id = "uk_1qh7x7vrd8mr7qw98jt82";
    r.group_id = "openai";
    r.provider = "openai";
    r.endpoint = "chat";
    r.model_asked = "gpt-4o-mini";
    r.model_served = "gpt-4o-mini-2024-07-18";
    r.tokens.input = 400;
    r.tokens.output = 200;
    r.outcome = usage_outcome::exact;
    r.cost = 180'000;
    r.rated_cost = 180'000;
    r.status = 200;
    return r;
}

exchange_start start_of(const ledger_record& r) {
    exchange_start s;
    s.id = r.id;
    s.access_key_id = r.access_key_id;
    s.upstream_key_id = r.upstream_key_id;
    s.group_id = r.group_id;
    s.provider = r.provider;
    s.endpoint = r.endpoint;
    s.model = r.model_asked;
    s.started = r.started;
    s.input_tokens = 400;
    s.output_tokens = 1000;
    s.cost = 660'000;
    s.rated_cost = 660'000;
    return s;
}

void append(benchmark::State& run) {
    std::string folder =
        (std::filesystem::temp_directory_path() / "kw-journal-bench-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) {
        run.SkipWithError("no folder");
        return;
    }
    {
        // Nothing ships here: so many exchanges as fit.
        const auto log = *journal::open({folder, fsync_policy::no, 4U << 20U, 4ULL << 30U}, 1);
        auto& writer = log->writer(0);
        const ledger_record r = record_of("req_1qh7x7vrd8mr7qw98jt82aaaa");
        const exchange_start start = start_of(r);
        for (auto _ : run) {
            if (writer.append_start(start) != errc::ok || writer.append_end(r) != errc::ok)
                run.SkipWithError("the journal is full");
        }
        run.counters["bytes"] =
            static_cast<double>(log->disk_bytes()) / static_cast<double>(run.iterations());
    }
    std::filesystem::remove_all(folder);
}
BENCHMARK(append)->Iterations(200'000);

}  // namespace
