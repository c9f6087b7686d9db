// What a request pays for objects: the look into a body of chat, ids in a body, a worker's memory
// of many ids, and a board that holds a million.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <string>

#include "proxy/object_cache.hpp"
#include "proxy/object_ids.hpp"
#include "store/objects.hpp"

namespace {

using namespace kw;

std::string chat_body(std::size_t size) {
    std::string text = R"({"model":"gpt-4o-mini","messages":[{"role":"user","content":")";
    while (text.size() < size)
        text += "The quick brown fox of the field is fine. ";
    return text + R"("}]})";
}

void look_into_chat(benchmark::State& run) {
    const std::string body = chat_body(static_cast<std::size_t>(run.range(0)));
    for (auto _ : run)
        benchmark::DoNotOptimize(proxy::may_refer(body));
}
BENCHMARK(look_into_chat)->Arg(200)->Arg(2'000)->Arg(20'000);

void route(benchmark::State& run) {
    for (auto _ : run)
        benchmark::DoNotOptimize(proxy::route_objects("GET", "/v1/files/file-abcdefghijklmnop"));
}
BENCHMARK(route);

void refs_of_a_body(benchmark::State& run) {
    const std::string body =
        R"({"model":"m","previous_response_id":"resp_0123456789abcdef","input":")" +
        std::string(static_cast<std::size_t>(run.range(0)), 'x') + "\"}";
    for (auto _ : run)
        benchmark::DoNotOptimize(proxy::find_refs(body, 256));
}
BENCHMARK(refs_of_a_body)->Arg(200)->Arg(20'000);

void remembered(benchmark::State& run) {
    const auto n = static_cast<std::size_t>(run.range(0));
    proxy::object_cache cache;
    cache.set_limit(2 * n);
    const mono_time now{std::chrono::seconds(1000)};
    for (std::size_t i = 0; i < n; ++i)
        cache.put("file-" + std::to_string(i * 2'654'435'761U), {true, "uk_1", "ak_1"},
                  now + std::chrono::hours(1));
    std::size_t i = 0;
    for (auto _ : run) {
        i = (i + 7'919) % n;
        benchmark::DoNotOptimize(cache.find("file-" + std::to_string(i * 2'654'435'761U), now));
    }
}
BENCHMARK(remembered)->Arg(20'000)->Arg(1'000'000);

void stored(benchmark::State& run) {
    const auto n = static_cast<std::size_t>(run.range(0));
    const std::string folder =
        (std::filesystem::temp_directory_path() / ("kw-objects-bench-" + std::to_string(n)))
            .string();
    std::filesystem::create_directories(folder);
    const system_clock_source clock;
    {
        const auto board = *store::open_embedded_objects(folder, 2 * n, clock);
        std::vector<store::object_binding> some;
        for (std::size_t i = 0; i < n; ++i) {
            some.push_back({"file-" + std::to_string(i * 2'654'435'761U), "uk_1", "ak_1",
                            std::chrono::hours(1)});
            if (some.size() < 10'000 && i + 1 < n) continue;
            if (!board->bind(some)) run.SkipWithError("bind");
            some.clear();
        }
        std::size_t i = 0;
        for (auto _ : run) {
            i = (i + 7'919) % n;
            const std::vector<std::string> id{"file-" + std::to_string(i * 2'654'435'761U)};
            const auto got = board->find(id);
            if (!got || !got->front().known) run.SkipWithError("find");
        }
    }
    std::filesystem::remove_all(folder);
}
BENCHMARK(stored)->Arg(10'000)->Arg(1'000'000);

}  // namespace
