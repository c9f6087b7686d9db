// Every dialect's usage, however its answer is cut up and encoded.
#include "usage/scanner.hpp"

#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using kw::store::token_counts;
using kw::usage::scan_result;
using kw::usage::scanner;

namespace {

struct sample {
    const char* name;
    bool stream;
    std::string body;
    token_counts tokens;
    const char* model;
};

token_counts counts(std::int64_t in, std::int64_t out) {
    token_counts t;
    t.input = in;
    t.output = out;
    return t;
}

token_counts with(token_counts t, std::int64_t token_counts::* member, std::int64_t n) {
    t.*member = n;
    return t;
}

std::vector<sample> samples() {
    std::vector<sample> all;
    all.push_back(
        {"chat", false,
         R"({"id":"c","object":"chat.completion","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"a \"usage\":{\"prompt_tokens\":99} b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":2},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":1}},"service_tier":"default"})",
         with(with(with(with(counts(19, 10), &token_counts::cached_read, 4),
                        &token_counts::reasoning, 3),
                   &token_counts::audio_in, 2),
              &token_counts::audio_out, 1),
         "gpt-4o-2024-08-06"});
    all.push_back({"chat stream", true,
                   "data: "
                   "{\"id\":\"c\",\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
                   "\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
                   ": ping\n\n"
                   "data: "
                   "{\"id\":\"c\",\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{"
                   "\"content\":\"Hi\"},\"finish_reason\":null}],\"usage\":null}\n\n"
                   "data: "
                   "{\"id\":\"c\",\"model\":\"m1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_"
                   "reason\":\"stop\"}],\"usage\":null}\n\n"
                   "data: "
                   "{\"id\":\"c\",\"model\":\"m1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
                   "\"completion_tokens\":2,\"total_tokens\":9}}\n\n"
                   "data: [DONE]\n\n",
                   counts(7, 2), "m1"});
    all.push_back(
        {"responses stream", true,
         "event: response.created\r\ndata: "
         "{\"type\":\"response.created\",\"response\":{\"model\":\"gpt-5\",\"usage\":null,"
         "\"tools\":[{\"parameters\":{\"usage\":{\"input_tokens\":77}}}]}}\r\n\r\n"
         "event: response.output_text.delta\r\ndata: "
         "{\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\r\n\r\n"
         "event: response.completed\r\ndata: "
         "{\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5\",\"output\":[{\"type\":"
         "\"web_search_call\"}],\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_"
         "tokens\":10,\"cache_write_tokens\":5},\"output_tokens\":87,\"output_tokens_details\":{"
         "\"reasoning_tokens\":64},\"total_tokens\":123}}}\r\n\r\n",
         with(with(with(counts(36, 87), &token_counts::cached_read, 10),
                   &token_counts::cache_write_5m, 5),
              &token_counts::reasoning, 64),
         "gpt-5"});
    all.push_back(
        {"embeddings", false,
         R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3,3]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}})",
         counts(8, 0), "text-embedding-3-small"});
    all.push_back(
        {"image stream", true,
         "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AAAA\"}\n\n"
         "data: "
         "{\"type\":\"image_generation.completed\",\"b64_json\":\"AAAABBBB\",\"usage\":{\"total_"
         "tokens\":100,\"input_tokens\":50,\"output_tokens\":50,\"input_tokens_details\":{\"text_"
         "tokens\":10,\"image_tokens\":40},\"output_tokens_details\":{\"image_tokens\":50}}}\n\n",
         with(with(counts(50, 50), &token_counts::image_in, 40), &token_counts::image_out, 50),
         ""});
    all.push_back(
        {"transcription", false,
         R"({"text":"hi","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}})",
         with(counts(14, 45), &token_counts::audio_in, 10), ""});
    all.push_back(
        {"anthropic stream", true,
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"model\":"
         "\"claude-sonnet-4-5\",\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":30,"
         "\"cache_creation\":{\"ephemeral_5m_input_tokens\":20,\"ephemeral_1h_input_tokens\":10},"
         "\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n"
         "event: content_block_delta\ndata: "
         "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
         "\"text\":\"Hi\"}}\n\n"
         "event: message_delta\ndata: "
         "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_"
         "tokens\":null,\"output_tokens\":15,\"output_tokens_details\":{\"thinking_tokens\":5}}}"
         "\n\n"
         "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
         with(with(with(with(counts(140, 15), &token_counts::cached_read, 100),
                        &token_counts::cache_write_5m, 20),
                   &token_counts::cache_write_1h, 10),
              &token_counts::reasoning, 5),
         "claude-sonnet-4-5"});
    all.push_back(
        {"anthropic", false,
         R"({"type":"message","model":"claude-x","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":6}})",
         with(counts(8, 6), &token_counts::cached_read, 3), "claude-x"});
    all.push_back({"gemini stream", true,
                   "data: "
                   "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"H\"}]}}],"
                   "\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":1,"
                   "\"totalTokenCount\":10},\"modelVersion\":\"gemini-2.5-pro\"}\n\n"
                   "data: "
                   "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"i\"}]},\"finishReason\":"
                   "\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":"
                   "4,\"thoughtsTokenCount\":20,\"cachedContentTokenCount\":2,\"totalTokenCount\":"
                   "33,\"promptTokensDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":3},{"
                   "\"tokenCount\":6,\"modality\":\"AUDIO\"}]}}\n\n",
                   with(with(with(counts(9, 24), &token_counts::reasoning, 20),
                             &token_counts::cached_read, 2),
                        &token_counts::audio_in, 6),
                   "gemini-2.5-pro"});
    all.push_back(
        {"gemini array", false,
         R"([{"candidates":[],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1}},
 {"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5}}])",
         counts(9, 5), ""});
    return all;
}

std::string gzip(const std::string& text, int window_bits) {
    z_stream z{};
    REQUIRE(deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string out(text.size() + 1024, '\0');
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z.avail_in = static_cast<uInt>(text.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
    out.resize(out.size() - z.avail_out);
    deflateEnd(&z);
    return out;
}

std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
    return out;
}

scan_result fed(const sample& s, const std::string& wire, const char* coding, std::size_t cut,
                std::size_t step = std::string::npos) {
    scanner sc;
    sc.configure(s.stream ? "text/event-stream; charset=utf-8" : "application/json", coding);
    std::string_view rest = wire;
    sc.feed(rest.substr(0, cut));
    rest.remove_prefix(cut);
    while (!rest.empty()) {
        sc.feed(rest.substr(0, step));
        rest.remove_prefix(std::min(step, rest.size()));
    }
    sc.finish(true);
    return sc.result();
}

// The data of each event, as the relay's splitter gives it.
std::vector<std::string> events(const std::string& body) {
    std::vector<std::string> all;
    std::size_t at = 0;
    while ((at = body.find("data: ", at)) != std::string::npos) {
        const std::size_t end = body.find_first_of("\r\n", at);
        all.push_back(body.substr(at + 6, end - at - 6));
        at = end;
    }
    return all;
}

scan_result scanned(const std::vector<std::string>& all) {
    scanner sc;
    for (const std::string& e : all)
        sc.on_event(e);
    return sc.result();
}

}  // namespace

TEST_CASE("totals are the same wherever the answer is split") {
    for (const sample& s : samples()) {
        INFO(s.name);
        for (std::size_t cut = 0; cut <= s.body.size(); ++cut) {
            const scan_result r = fed(s, s.body, "", cut);
            REQUIRE(r.found);
            REQUIRE(r.tokens == s.tokens);
            REQUIRE(r.model == s.model);
        }
        REQUIRE(fed(s, s.body, "", 0, 1).tokens == s.tokens);
    }
}

TEST_CASE("compressed answers, split at every byte") {
    for (const sample& s : samples()) {
        INFO(s.name);
        for (const auto& [coding, wire] :
             std::vector<std::pair<const char*, std::string>>{{"gzip", gzip(s.body, 31)},
                                                              {"deflate", gzip(s.body, 15)},
                                                              {"deflate", gzip(s.body, -15)},
                                                              {"ZSTD", zstd(s.body)},
                                                              {"identity", s.body}}) {
            INFO(coding);
            for (std::size_t cut = 0; cut <= wire.size(); cut += 3)
                REQUIRE(fed(s, wire, coding, cut).tokens == s.tokens);
            REQUIRE(fed(s, wire, coding, 0, 1).tokens == s.tokens);
        }
    }
}

TEST_CASE("brotli, stored as one uncompressed block") {
    // A window of 16 bits, one metablock of raw bytes, then the empty last one (RFC 7932, 9).
    const std::string text =
        R"({"model":"m","choices":[{}],"usage":{"prompt_tokens":5,"completion_tokens":6}})";
    const std::size_t n = text.size() - 1;
    std::uint32_t head = 0;  // WBITS=16: one bit 0
    head |= 0U << 1U;        // ISLAST 0
    head |= 0U << 2U;        // MNIBBLES 4
    head |= static_cast<std::uint32_t>(n) << 4U;
    head |= 1U << 20U;  // ISUNCOMPRESSED
    std::string wire;
    for (unsigned i = 0; i < 3; ++i)
        wire.push_back(static_cast<char>(head >> (8 * i)));
    wire += text;
    wire.push_back('\x03');
    sample s{"br", false, text, counts(5, 6), "m"};
    for (std::size_t cut = 0; cut <= wire.size(); ++cut)
        REQUIRE(fed(s, wire, "br", cut).tokens == s.tokens);
}

TEST_CASE("events given one by one count the same") {
    for (const sample& s : samples()) {
        if (!s.stream) continue;
        INFO(s.name);
        const scan_result r = scanned(events(s.body));
        CHECK(r.found);
        CHECK(r.finished);
        CHECK(r.tokens == s.tokens);
        CHECK(r.model == s.model);
        CHECK(r.output_chars == fed(s, s.body, "", 0).output_chars);
        CHECK(r.searches == (std::string(s.name) == "responses stream" ? 1 : 0));
    }
}

TEST_CASE("a stream without its end has no final counts") {
    for (const sample& s : samples()) {
        if (!s.stream) continue;
        INFO(s.name);
        std::vector<std::string> all = events(s.body);
        while (all.size() > 1) {
            const bool was_last_count = all.back().find("usage\":{") != std::string::npos ||
                                        all.back().find("usageMetadata") != std::string::npos;
            all.pop_back();
            if (was_last_count) break;
        }
        CHECK_FALSE(scanned(all).found);
    }
}

TEST_CASE("what an event is") {
    scanner sc;
    const auto role = sc.on_event(
        R"({"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]})");
    CHECK_FALSE(role.content);
    CHECK_FALSE(role.terminal);
    CHECK(sc.on_event(R"({"choices":[{"delta":{"content":"x"}}]})").content);
    CHECK(sc.on_event(R"({"choices": [{"delta": {"content": "x"}}]})").content);
    CHECK(sc.on_event(R"({"choices":[{"delta":{"tool_calls":[{"id":"a"}]}}]})").content);
    CHECK(sc.on_event(R"({"choices":[{"delta":{},"finish_reason":"length"}]})").terminal);
    const auto last = sc.on_event(R"({"choices": [], "usage": {"prompt_tokens": 3}})");
    CHECK(last.usage_only);
    CHECK(sc.on_event("[DONE]").done);
    CHECK(sc.result().saw_done);
    CHECK(sc.result().finished);

    CHECK(sc.on_event(R"({"id":"x","choices":[{"delta":{"content":)").broken);
    CHECK_FALSE(sc.on_event("{\"choices\":[]} ").broken);

    // Azure's first chunk has no choices either; usage in an ordinary chunk is not hidden.
    CHECK_FALSE(kw::usage::is_usage_only_event(R"({"choices":[],"prompt_filter_results":[]})"));
    CHECK_FALSE(kw::usage::is_usage_only_event(R"({"choices":[],"usage":null})"));
    CHECK_FALSE(kw::usage::is_usage_only_event(
        R"({"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3}})"));
    CHECK(kw::usage::is_usage_only_event(R"({"choices":[],"usage":{"total_tokens":3}})"));

    CHECK_FALSE(kw::usage::is_first_token(R"({"type":"ping"})"));
    CHECK_FALSE(kw::usage::is_first_token(
        R"({"type":"response.created","response":{"output":[],"instructions":"text"}})"));
    CHECK(kw::usage::is_first_token(R"({"type":"response.output_text.delta","delta":"x"})"));
    CHECK(kw::usage::is_first_token(R"({"delta":"x"})"));
    CHECK_FALSE(
        kw::usage::is_first_token(R"({"type":"response.output_text.done","text":"whole"})"));
    CHECK(
        kw::usage::is_first_token(R"({"type":"image_generation.partial_image","b64_json":"AA"})"));
}

TEST_CASE("errors inside an answer") {
    scanner sc;
    CHECK(sc.on_event(R"({"error":{"message":"m","type":"server_error","code":"overloaded"}})")
              .error);
    CHECK(sc.result().saw_error);
    CHECK(sc.result().error_code == "overloaded");
    sc.configure("", "");
    CHECK(sc.on_event(R"({"type":"error","error":{"type":"overloaded_error"}})").error);
    CHECK(sc.result().error_code == "overloaded_error");
    sc.configure("", "");
    CHECK(
        sc.on_event(
              R"({"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded"},"usage":null}})")
            .error);
    CHECK(sc.result().error_code == "rate_limit_exceeded");
    sc.configure("application/json", "");
    sc.feed(R"({"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}})");
    sc.finish(true);
    CHECK(sc.result().saw_error);
    CHECK(sc.result().error_code == "RESOURCE_EXHAUSTED");
    sc.configure("", "");
    CHECK_FALSE(sc.on_event(R"({"type":"response.created","response":{"error":null}})").error);
}

TEST_CASE("a large answer needs no memory and broken ones do no harm") {
    scanner sc;
    sc.configure("application/json", "");
    sc.feed(R"({"data":[{"embedding":[0.25)");
    const std::string numbers = [] {
        std::string s;
        while (s.size() < 65536)
            s += ",-0.0123456789";
        return s;
    }();
    for (int i = 0; i < 160; ++i)
        sc.feed(numbers);
    sc.feed(R"(]}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}})");
    sc.finish(true);
    CHECK(sc.result().found);
    CHECK(sc.result().tokens == counts(8, 0));

    sc.configure("application/json", "gzip");
    sc.feed("not gzip at all");
    sc.finish(true);
    CHECK_FALSE(sc.result().found);

    sc.configure("application/json", "gzip, br");
    sc.feed(R"({"usage":{"prompt_tokens":8}})");
    sc.finish(true);
    CHECK_FALSE(sc.result().found);

    sc.configure("application/json", "");
    sc.feed(std::string(100'000, '['));
    sc.feed(std::string(200'000, ']'));
    sc.finish(true);
    CHECK_FALSE(sc.result().found);

    sc.configure("application/json", "");  // a cut body tells no final counts
    sc.feed(R"({"usage":{"prompt_tokens":8,"completion_tokens":1},"x":)");
    sc.finish(false);
    CHECK_FALSE(sc.result().found);
}

TEST_CASE("decompression bombs end early") {
    kw::usage::decoder d;
    d.start(kw::usage::encoding::zstd);
    const std::string bomb = zstd(std::string(std::size_t{8} << 20U, ' '));
    std::size_t largest = 0;
    std::uint64_t total = 0;
    bool good = true;
    for (int i = 0; i < 100 && good; ++i)
        good = d.feed(bomb, [&](std::string_view piece) {
            largest = std::max(largest, piece.size());
            total += piece.size();
        });
    CHECK_FALSE(good);
    CHECK(d.failed());
    CHECK(largest <= 16384);
    CHECK(total <= kw::usage::decoder::max_decoded + 16384);
}

TEST_CASE("odd counts are made sound") {
    scanner sc;
    const auto one = [&](const char* body) {
        sc.configure("application/json", "");
        sc.feed(body);
        sc.finish(true);
        return sc.result();
    };
    CHECK(
        one(R"({"usage":{"prompt_tokens":-5,"completion_tokens":99999999999999999999}})").tokens ==
        counts(0, 1'000'000'000'000));
    CHECK(one(R"({"usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":9}}})")
              .tokens.cached_read == 5);
    CHECK(
        one(R"({"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":22,"completion_tokens_details":{"reasoning_tokens":7}}})")
            .tokens.output == 12);
    CHECK(one(R"({"text":"x","usage":{"type":"duration","seconds":12.25}})").duration_ms == 12250);
    CHECK(one(R"({"data":[{"url":"u"},{"b64_json":"x"}]})").images == 2);
}
