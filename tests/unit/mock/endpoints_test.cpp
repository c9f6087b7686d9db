// Every endpoint of the mock, well-behaved: shapes, framings, books and what was seen.
#include <dlfcn.h>
#include <zlib.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "mock/mock_upstream.hpp"
#include "mock/request.hpp"
#include "tests/unit/mock/client.hpp"

using kw::mock::mock_options;
using kw::mock::mock_upstream;
using kw::mock::sha256_hex;
using kw::mock::test::client;
namespace bj = boost::json;

namespace {

struct fixture {
    explicit fixture(mock_options o = {}) : up(std::move(o)), port(up.start()) {}
    mock_upstream up;
    std::uint16_t port;

    bj::value get(std::string_view target) {
        client c(port);
        return bj::parse(c.request("GET", target).body);
    }
};

bj::value at(const bj::value& v, std::string_view pointer) {
    boost::system::error_code ec;
    const auto* found = v.find_pointer(pointer, ec);
    return found ? *found : bj::value("<absent>");
}

std::string chat(std::string_view model, std::string_view rest = {}) {
    return "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"model\":\"" +
           std::string(model) + "\"" + std::string(rest) + "}";
}

std::string form(std::string_view model, std::string_view file, std::string_view more = {}) {
    return "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n"
           "Content-Type: application/octet-stream\r\n\r\n" +
           std::string(file) +
           "\r\n--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" +
           std::string(model) + "\r\n" + std::string(more) + "--b0--\r\n";
}
constexpr std::string_view form_type = "Content-Type: multipart/form-data; boundary=b0\r\n";

// The library is loaded, as the mock does: nothing else here needs it.
std::string inflated(std::string bytes) {
    void* lib = ::dlopen("libz.so.1", RTLD_NOW);
    REQUIRE(lib);
    const auto init = reinterpret_cast<decltype(&inflateInit2_)>(::dlsym(lib, "inflateInit2_"));
    const auto run = reinterpret_cast<decltype(&::inflate)>(::dlsym(lib, "inflate"));
    const auto end = reinterpret_cast<decltype(&inflateEnd)>(::dlsym(lib, "inflateEnd"));
    std::string out(10'000, '\0');
    z_stream z{};
    REQUIRE(init(&z, 31, ZLIB_VERSION, static_cast<int>(sizeof z)) == Z_OK);
    z.next_in = reinterpret_cast<Bytef*>(bytes.data());
    z.avail_in = static_cast<uInt>(bytes.size());
    z.next_out = reinterpret_cast<Bytef*>(out.data());
    z.avail_out = static_cast<uInt>(out.size());
    CHECK(run(&z, Z_FINISH) == Z_STREAM_END);
    out.resize(z.total_out);
    end(&z);
    return out;
}

std::size_t count(std::string_view in, std::string_view what) {
    std::size_t n = 0;
    for (std::size_t i = 0; (i = in.find(what, i)) != std::string_view::npos; i += what.size())
        ++n;
    return n;
}

}  // namespace

TEST_CASE("plain chat is answered, billed and the same for the same test id") {
    fixture f;
    client c(f.port);
    const auto body = chat("gpt-4o");
    const auto r = c.post("/v1/chat/completions", body, "x-test-id: t1\r\n");
    REQUIRE(r.status == 200);
    REQUIRE(r.complete);
    CHECK(r.headers.at("x-request-id") == "mock-1");
    CHECK(r.headers.contains("x-ratelimit-remaining-requests"));
    CHECK(r.body.size() > 1200);
    CHECK(r.body.size() < 2200);
    const auto json = bj::parse(r.body);
    CHECK(at(json, "/usage/completion_tokens") == 200);
    CHECK(at(json, "/usage/prompt_tokens") == static_cast<std::int64_t>(body.size() / 4));
    CHECK(at(json, "/choices/0/finish_reason") == "stop");

    const auto again = c.post("/v1/chat/completions", body, "x-test-id: t1\r\n");
    CHECK(again.body == r.body);
    const auto other = c.post("/v1/chat/completions", body, "x-test-id: t2\r\n");
    CHECK(other.body != r.body);

    const auto books = f.get("/__books");
    CHECK(at(books, "/keys/sk-test/requests") == 3);
    CHECK(at(books, "/total/output_tokens") == 600);
    CHECK(at(books, "/entries/0/test_id") == "t1");
    CHECK(at(books, "/entries/0/outcome") == "completed");
    CHECK(at(books, "/total/by").as_object().at("POST /v1/chat/completions").at("200") == 3);
    CHECK(at(f.get("/__books?after=1&limit=1"), "/next") == 2);
}

TEST_CASE("a chat stream carries usage only when asked, events of the usual size") {
    fixture f;
    client c(f.port);
    const auto r = c.post(
        "/v1/chat/completions",
        chat("mock-tokens-7", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
        "x-mock-hash: 1\r\n");
    REQUIRE(r.complete);
    CHECK(r.headers.at("content-type").starts_with("text/event-stream"));
    CHECK(count(r.body, "data: ") == 11);  // role, 7 tokens, finish, usage, DONE
    CHECK(r.body.ends_with("data: [DONE]\n\n"));
    CHECK(count(r.body, "\"usage\":null") == 9);
    CHECK(count(r.body, "\"completion_tokens\":7") == 1);
    CHECK(at(f.get("/__books"), "/entries/0/sent_sha256") == bj::value(sha256_hex(r.body)));
    CHECK(at(f.get("/__books"), "/entries/0/received_sha256") ==
          bj::value(sha256_hex(chat(
              "mock-tokens-7", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"))));

    const auto without = c.post("/v1/chat/completions", chat("mock-tokens-7", ",\"stream\":true"));
    CHECK(without.body.find("usage") == std::string::npos);
}

TEST_CASE("limits, tools, schemas and reasoning shape a chat") {
    fixture f;
    client c(f.port);
    auto json = bj::parse(c.post("/v1/chat/completions", chat("m", ",\"max_tokens\":3")).body);
    CHECK(at(json, "/choices/0/finish_reason") == "length");
    CHECK(at(json, "/usage/completion_tokens") == 3);

    json = bj::parse(
        c.post("/v1/chat/completions",
               chat("m",
                    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\","
                    "\"parameters\":"
                    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}}}}}]"))
            .body);
    CHECK(at(json, "/choices/0/finish_reason") == "tool_calls");
    CHECK(at(json, "/choices/0/message/tool_calls/0/function/name") == "get_weather");
    CHECK(at(json, "/choices/0/message/tool_calls/0/function/arguments") == R"({"city":"text"})");

    json = bj::parse(c.post("/v1/chat/completions",
                            chat("m",
                                 ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"
                                 "\"name\":\"x\",\"schema\":{\"type\":"
                                 "\"object\",\"properties\":{\"n\":{\"type\":\"integer\"},\"l\":{"
                                 "\"type\":\"array\",\"items\":{\"$ref\":"
                                 "\"#/$defs/e\"}}},\"$defs\":{\"e\":{\"enum\":[\"red\"]}}}}}"))
                         .body);
    const auto content = bj::parse(at(json, "/choices/0/message/content").as_string());
    CHECK(at(content, "/n") == 7);
    CHECK(at(content, "/l/0") == "red");

    json = bj::parse(c.post("/v1/chat/completions", chat("reasoner")).body);
    CHECK(at(json, "/usage/completion_tokens_details/reasoning_tokens") == 100);
    CHECK(at(json, "/usage/completion_tokens") == 300);
}

TEST_CASE("responses, plain, streamed in order, and in the background") {
    fixture f;
    client c(f.port);
    const std::string body = R"({"model":"mock-tokens-4","input":"hi"})";
    const auto plain = bj::parse(c.post("/v1/responses", body).body);
    CHECK(at(plain, "/status") == "completed");
    CHECK(at(plain, "/usage/output_tokens") == 4);
    const auto got = f.get("/v1/responses/" + std::string(at(plain, "/id").as_string()));
    CHECK(at(got, "/output/0/content/0/text") == at(plain, "/output/0/content/0/text"));

    const auto s =
        c.post("/v1/responses", R"({"model":"mock-tokens-4","input":"hi","stream":true})");
    REQUIRE(s.complete);
    std::size_t from = 0;
    for (const std::string_view type :
         {"response.created", "response.in_progress", "response.output_item.added",
          "response.content_part.added", "response.output_text.delta", "response.output_text.done",
          "response.content_part.done", "response.output_item.done", "response.completed"}) {
        const auto next = s.body.find("event: " + std::string(type) + "\n", from);
        INFO(type);
        REQUIRE(next != std::string::npos);
        from = next;
    }
    CHECK(count(s.body, "event: response.output_text.delta\n") == 4);
    CHECK(s.body.find("[DONE]") == std::string::npos);

    const auto later =
        bj::parse(c.post("/v1/responses", R"({"model":"m","input":"hi","background":true})").body);
    CHECK(at(later, "/status") == "queued");
    CHECK(at(later, "/usage").is_null());
    const auto done = f.get("/v1/responses/" + std::string(at(later, "/id").as_string()));
    CHECK(at(done, "/usage/output_tokens") == 200);
}

TEST_CASE("Anthropic and Gemini in their own shapes") {
    fixture f;
    client c(f.port);
    auto r = c.post("/v1/messages", chat("mock-tokens-5"));
    auto json = bj::parse(r.body);
    CHECK(at(json, "/usage/output_tokens") == 5);
    CHECK(r.headers.contains("request-id"));
    r = c.post("/v1/messages", chat("mock-tokens-5", ",\"stream\":true"));
    CHECK(count(r.body, "event: content_block_delta\n") == 5);
    CHECK(r.body.find("\"output_tokens\":5") != std::string::npos);
    CHECK(r.body.find("event: message_stop\n") != std::string::npos);
    json = bj::parse(c.post("/v1/messages", chat("mock-status-529")).body);
    CHECK(at(json, "/error/type") == "overloaded_error");

    const std::string ask = R"({"contents":[{"parts":[{"text":"hi"}]}]})";
    json = bj::parse(c.post("/v1beta/models/mock-tokens-5:generateContent", ask).body);
    CHECK(at(json, "/usageMetadata/candidatesTokenCount") == 5);
    r = c.post("/v1/models/mock-tokens-5:streamGenerateContent?alt=sse", ask);
    CHECK(count(r.body, "data: ") == 6);
    r = c.post("/v1beta/models/mock-tokens-5:streamGenerateContent", ask);
    CHECK(bj::parse(r.body).as_array().size() == 6);
    json = bj::parse(c.post("/v1beta/models/mock-status-429:generateContent", ask).body);
    CHECK(at(json, "/error/status") == "RESOURCE_EXHAUSTED");
}

TEST_CASE("completions, embeddings, images, audio and models") {
    fixture f;
    client c(f.port);
    auto json =
        bj::parse(c.post("/v1/completions", R"({"model":"mock-tokens-5","prompt":"hi"})").body);
    CHECK(at(json, "/usage/completion_tokens") == 5);
    auto r = c.post("/v1/completions", R"({"model":"mock-tokens-5","prompt":"hi","stream":true})");
    CHECK(count(r.body, "data: ") == 7);

    const auto floats = bj::parse(
        c.post("/v1/embeddings", R"({"model":"e","input":["a","b"],"dimensions":4})").body);
    CHECK(at(floats, "/data").as_array().size() == 2);
    CHECK(at(floats, "/data/0/embedding").as_array().size() == 4);
    const auto packed =
        bj::parse(c.post("/v1/embeddings",
                         R"({"model":"e","input":"a","dimensions":4,"encoding_format":"base64"})")
                      .body);
    CHECK(at(packed, "/data/0/embedding").as_string().size() == 24);

    json = bj::parse(
        c.post("/v1/images/generations", R"({"model":"gpt-image-1","prompt":"cat"})").body);
    CHECK(at(json, "/usage/output_tokens") == 100);
    r = c.post("/v1/images/generations", R"({"model":"gpt-image-1","prompt":"cat","stream":true})");
    CHECK(count(r.body, "event: image_generation.partial_image") == 2);
    CHECK(count(r.body, "event: image_generation.completed") == 1);
    json = bj::parse(
        c.request("POST", "/v1/images/edits", form("gpt-image-1", "png"), form_type).body);
    CHECK(at(json, "/data/0/b64_json").is_string());

    json = bj::parse(c.request("POST", "/v1/audio/transcriptions",
                               form("mock-tokens-3", std::string(5000, 'a')), form_type)
                         .body);
    CHECK(at(json, "/usage/input_tokens") == 5);
    CHECK(at(json, "/usage/output_tokens") == 3);
    const std::string as_text =
        "--b0\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\ntext\r\n";
    r = c.request("POST", "/v1/audio/transcriptions", form("mock-tokens-3", "a", as_text),
                  form_type);
    CHECK(r.headers.at("content-type").starts_with("text/plain"));
    json = bj::parse(c.request("POST", "/v1/audio/translations", form("m", "a"), form_type).body);
    CHECK(at(json, "/usage") == "<absent>");
    r = c.post("/v1/audio/speech", R"({"model":"tts-1","input":"hi","voice":"x"})");
    CHECK(r.body.size() == 65536);
    r = c.post("/v1/audio/speech",
               R"({"model":"tts-1","input":"hi","voice":"x","stream_format":"sse"})");
    CHECK(count(r.body, "speech.audio.done") == 1);

    CHECK(at(f.get("/v1/models"), "/data").as_array().size() == 8);
    CHECK(at(f.get("/v1/models/ft%3Agpt%2Fx"), "/id") == "ft:gpt/x");
    CHECK(at(f.get("/v1/models/missing-1"), "/error/code") == "model_not_found");
    CHECK(at(f.get("/openai/v1/models"), "/object") == "list");
}

TEST_CASE("a chunked upload is measured, hashed, kept, listed and deleted") {
    fixture f;
    client c(f.port);
    std::string content;
    for (int i = 0; i < 3'000'000; ++i)
        content += static_cast<char>(i * 31 + i / 251);
    const auto body = form("none", content);
    REQUIRE(c.send(
        "POST /v1/files HTTP/1.1\r\nHost: m\r\nx-api-key: sk-f\r\nTransfer-Encoding: chunked\r\n" +
        std::string(form_type) + "\r\n"));
    for (std::size_t i = 0; i < body.size(); i += 50'001) {
        const auto piece = std::string_view(body).substr(i, 50'001);
        char size[24];
        std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
        REQUIRE(c.send(size + std::string(piece) + "\r\n"));
    }
    REQUIRE(c.send("0\r\nx-sum: 1\r\n\r\n"));
    const auto made = bj::parse(c.read().body);
    CHECK(at(made, "/bytes") == 3'000'000);
    CHECK(at(made, "/sha256") == bj::value(sha256_hex(content)));
    const auto seen = f.get("/__seen?last=1");
    CHECK(at(seen, "/0/body_sha256") == bj::value(sha256_hex(body)));
    CHECK(at(seen, "/0/trailers/0/0") == "x-sum");

    const std::string id(at(made, "/id").as_string());
    CHECK(c.request("GET", "/v1/files/" + id + "/content").body == content.substr(0, 1U << 20));
    CHECK(at(f.get("/v1/files"), "/data").as_array().size() == 1);
    CHECK(c.request("DELETE", "/v1/files/" + id).status == 200);
    CHECK(c.request("GET", "/v1/files/" + id).status == 404);

    const auto upload = bj::parse(c.post("/v1/uploads", R"({"bytes":3})").body);
    const std::string path = "/v1/uploads/" + std::string(at(upload, "/id").as_string());
    const auto part = c.request("POST", path + "/parts",
                                "--b0\r\nContent-Disposition: form-data; name=\"data\"; "
                                "filename=\"p\"\r\n\r\nabc\r\n--b0--\r\n",
                                form_type);
    CHECK(at(bj::parse(part.body), "/bytes") == 3);
    CHECK(at(bj::parse(c.post(path + "/complete", "{}").body), "/status") == "completed");
    const auto batch = bj::parse(
        c.post("/v1/batches", R"({"endpoint":"/v1/responses","input_file_id":"x"})").body);
    CHECK(at(batch, "/status") == "validating");
    CHECK(at(f.get("/v1/batches/" + std::string(at(batch, "/id").as_string())), "/status") ==
          "completed");
}

TEST_CASE("echo, statuses, HEAD, OPTIONS, 1xx, trailers, codings, 100-continue") {
    fixture f;
    client c(f.port);
    auto r =
        c.request("PATCH", "/v1/echo/a?b=1", "xyz", "X-One: 1\r\nAUTHORIZATION: Bearer sk-zzz\r\n");
    CHECK(r.body.find("sk-zzz") == std::string::npos);
    const auto echo = bj::parse(r.body);
    CHECK(at(echo, "/method") == "PATCH");
    CHECK(at(echo, "/target") == "/v1/echo/a?b=1");
    CHECK(at(echo, "/headers/1/0") == "X-One");
    CHECK(at(echo, "/body_sha256") == bj::value(sha256_hex("xyz")));
    const auto seen = f.get("/__seen?last=1");
    CHECK(at(seen, "/0/head/2/1") == "Bearer sk-zzz");

    CHECK(c.request("GET", "/v1/status/204").status == 204);
    CHECK(c.request("GET", "/v1/status/304").status == 304);
    CHECK(c.request("GET", "/v1/status/418").status == 418);
    CHECK(c.request("GET", "/v1/nothing/here").status == 404);
    CHECK(c.request("OPTIONS", "/v1/models").headers.contains("allow"));
    CHECK(c.request("HEAD", "/v1/models").headers.at("content-length") != "0");
    CHECK(c.request("GET", "/v1/models").status == 200);

    r = c.request("GET", "/v1/models", {}, "x-mock-1xx: 103\r\n");
    CHECK(r.early.find("103") != std::string::npos);
    CHECK(r.status == 200);
    r = c.request("GET", "/v1/models", {}, "x-mock-trailers: 1\r\n");
    CHECK(r.trailers.at("x-mock-sha256") == sha256_hex(r.body));
    r = c.request("GET", "/v1/models", {}, "x-mock-encoding: gzip\r\n");
    const std::string plain = inflated(r.body);
    CHECK(plain == c.request("GET", "/v1/models").body);
    for (const std::string coding : {"br", "zstd"}) {
        r = c.request("GET", "/v1/models", {}, "x-mock-encoding: " + coding + "\r\n");
        CHECK(r.headers.at("content-encoding") == coding);
        CHECK(r.body.size() < plain.size());
        CHECK(r.body.find("gpt-4o-mini\",\"object\"") == std::string::npos);
    }

    REQUIRE(c.send(
        "POST /v1/echo/x HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer k\r\nExpect: 100-continue\r\n"
        "Content-Length: 2\r\n\r\n"));
    CHECK(c.read_some() == "HTTP/1.1 100 Continue\r\n\r\n");
    REQUIRE(c.send("ab"));
    CHECK(c.read().status == 200);

    CHECK(c.post("/v1/chat/completions", "{\"model\":").status == 400);
    client anonymous(f.port);
    REQUIRE(anonymous.send("GET /v1/models HTTP/1.1\r\nHost: m\r\n\r\n"));
    CHECK(anonymous.read().status == 401);
}

TEST_CASE("TLS with its own certificate, on several threads") {
    mock_options o;
    o.self_signed = true;
    o.threads = 2;
    fixture f(std::move(o));
    CHECK(f.up.ca_pem().starts_with("-----BEGIN CERTIFICATE"));
    for (int i = 0; i < 8; ++i) {
        client c(f.port, true);
        REQUIRE(c.good());
        CHECK(c.post("/v1/chat/completions", chat("gpt-4o")).complete);
        CHECK(c.post("/v1/chat/completions", chat("gpt-4o", ",\"stream\":true")).complete);
    }
    client c(f.port, true);
    const auto books = bj::parse(c.request("GET", "/__books?limit=0").body);
    CHECK(at(books, "/total/completed") == 16);
    CHECK(at(books, "/active") == 0);
    CHECK(at(bj::parse(c.request("GET", "/__connections").body), "/accepted") == 9);
}
