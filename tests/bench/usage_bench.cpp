// What the scanner and the request reader cost.
#include <benchmark/benchmark.h>

#include <string>

#include "usage/prices.hpp"
#include "usage/request_fields.hpp"
#include "usage/scanner.hpp"

namespace {

const std::string delta =
    R"({"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{"content":" Hello"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x7Fq2"})";

void ordinary_delta(benchmark::State& state) {
    kw::usage::scanner s;
    s.on_event(delta);
    for (auto _ : state)
        benchmark::DoNotOptimize(s.on_event(delta));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(delta.size()));
}
BENCHMARK(ordinary_delta);

void typed_delta(benchmark::State& state) {
    const std::string event =
        R"({"type":"response.output_text.delta","sequence_number":12,"item_id":"msg_67ccd2bf17f0819081ff3bb2cf6508e6","output_index":0,"content_index":0,"delta":" Hello","logprobs":[],"obfuscation":"x7Fq2"})";
    kw::usage::scanner s;
    for (int i = 0; i < 4; ++i)
        s.on_event(event);
    for (auto _ : state)
        benchmark::DoNotOptimize(s.on_event(event));
}
BENCHMARK(typed_delta);

void usage_event(benchmark::State& state) {
    const std::string event =
        R"({"id":"chatcmpl-B9","object":"chat.completion.chunk","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0}}})";
    kw::usage::scanner s;
    for (auto _ : state)
        benchmark::DoNotOptimize(s.on_event(event));
}
BENCHMARK(usage_event);

void configure(benchmark::State& state) {
    kw::usage::scanner s;
    for (auto _ : state)
        s.configure("text/event-stream", "");
}
BENCHMARK(configure);

// An ordinary answer that is not streamed, 1.4 KB.
void answer_body(benchmark::State& state) {
    std::string body =
        R"({"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1741569952,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":")";
    while (body.size() < 900)
        body += "Words as a model says them. ";
    body +=
        R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_44709d6fcb"})";
    kw::usage::scanner s;
    for (auto _ : state) {
        s.configure("application/json", "");
        s.feed(body);
        s.finish(true);
        benchmark::DoNotOptimize(s.result());
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(answer_body);

void embeddings_body(benchmark::State& state) {
    std::string body = R"({"data":[{"embedding":[0.25)";
    while (body.size() < (std::size_t{1} << 20U))
        body += ",-0.0123456789";
    body += R"(]}],"usage":{"prompt_tokens":8,"total_tokens":8}})";
    kw::usage::scanner s;
    for (auto _ : state) {
        s.configure("application/json", "");
        s.feed(body);
        s.finish(true);
    }
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(embeddings_body);

void request_body(benchmark::State& state) {
    std::string body = R"({"messages":[)";
    for (int i = 0; body.size() < static_cast<std::size_t>(state.range(0)); ++i) {
        if (i != 0) body += ',';
        body += R"({"role":"user","content":")";
        for (int j = 0; j < 20; ++j)
            body += "A sentence as people write them to a model.\\n";
        body += "\"}";
    }
    body += R"(],"model":"gpt-4o","stream":true})";
    for (auto _ : state)
        benchmark::DoNotOptimize(kw::usage::read_request_fields(body));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
}
BENCHMARK(request_body)->Arg(1000)->Arg(10'000'000);

void price(benchmark::State& state) {
    const auto table = kw::usage::price_table::builtin();
    kw::usage::quantities q;
    q.tokens.input = 1000;
    q.tokens.output = 500;
    for (auto _ : state)
        benchmark::DoNotOptimize(
            table->cost("openai", "gpt-4o-2024-08-06", "gpt-4o", q, "default"));
}
BENCHMARK(price);

}  // namespace
