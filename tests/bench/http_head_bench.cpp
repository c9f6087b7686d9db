// What one head, and one piece of an event stream, costs.
#include <benchmark/benchmark.h>

#include <string>

#include "net/http_head.hpp"
#include "net/sse_splitter.hpp"

using namespace kw::net;

namespace {

// As an official SDK sends it: about 700 bytes, 16 headers.
const std::string request =
    "POST /v1/chat/completions HTTP/1.1\r\n"
    "Host: proxy.example.com\r\n"
    "Connection: keep-alive\r\n"
    "Accept: application/json\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Content-Type: application/json\r\n"
    "User-Agent: OpenAI/Python 1.99.9\r\n"
    "X-Stainless-Lang: python\r\n"
    "X-Stainless-Package-Version: 1.99.9\r\n"
    "X-Stainless-OS: Linux\r\n"
    "X-Stainless-Arch: x64\r\n"
    "X-Stainless-Runtime: CPython\r\n"
    "X-Stainless-Runtime-Version: 3.12.1\r\n"
    "X-Stainless-Async: false\r\n"
    "x-stainless-retry-count: 0\r\n"
    "Authorization: Bearer sk-kw-abcdefghijkl-0123456789012345678901234567890123456789012abcdef\r\n"
    "Content-Length: 321\r\n"
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
    "\r\n";

void request_head(benchmark::State& state) {
    http_head head;
    for (auto _ : state) {
        head.reset();
        benchmark::DoNotOptimize(head.parse_request(request));
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(request.size()));
}
BENCHMARK(request_head);

// One byte at a time, as a slow client sends 64 KiB.
void slow_head(benchmark::State& state) {
    const std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(65'000, 'x');
    for (auto _ : state) {
        http_head head;
        for (std::size_t n = 1; n <= text.size(); ++n)
            benchmark::DoNotOptimize(head.parse_request(std::string_view(text).substr(0, n)));
    }
}
BENCHMARK(slow_head);

void stream_piece(benchmark::State& state) {
    std::string piece;
    for (int i = 0; i < state.range(0); ++i) {
        piece +=
            "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1,"
            "\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},"
            "\"finish_reason\":null}]}\n\n";
    }
    sse_splitter splitter;
    for (auto _ : state) {
        (void)splitter.feed(
            piece,
            [](const sse_event& e) {
                benchmark::DoNotOptimize(e.data.data());
                return true;
            },
            [](std::string_view run) { benchmark::DoNotOptimize(run.data()); });
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(piece.size()));
}
BENCHMARK(stream_piece)->Arg(1)->Arg(16);

}  // namespace
