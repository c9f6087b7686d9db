// Body framing: every case whole and cut at every byte.
#include "net/body_framer.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

using namespace kw::net;

namespace {

struct outcome {
    std::string payload;
    std::size_t consumed = 0;
    body_status status = body_status::more;
    friend bool operator==(const outcome&, const outcome&) = default;
};

outcome run(body_framer framer, const std::string& raw, std::size_t step) {
    outcome out;
    for (std::size_t at = 0; at < raw.size(); at += step) {
        const std::string part = raw.substr(at, step);
        const auto took =
            framer.consume(part, [&](std::string_view piece) { out.payload.append(piece); });
        out.consumed += took.consumed;
        if (took.consumed < part.size()) {
            CHECK(took.status != body_status::more);
            break;
        }
    }
    out.status = framer.status();
    CHECK(framer.payload_bytes() == out.payload.size());
    return out;
}

outcome chunked(const std::string& raw, trailer_rule rule = trailer_rule::refuse) {
    const body_framer framer(framing::chunked, 0, rule);
    const outcome whole = run(framer, raw, raw.size());
    for (std::size_t step = 1; step < raw.size(); step += step < 8 ? 1 : raw.size() / 3)
        CHECK(run(framer, raw, step) == whole);
    return whole;
}

}  // namespace

TEST_CASE("no body and bodies of a known length") {
    CHECK(body_framer().complete());
    CHECK(run(body_framer(framing::none, 0), "next", 4) == outcome{"", 0, body_status::complete});
    CHECK(body_framer(framing::length, 0).complete());
    CHECK(run(body_framer(framing::length, 3), "abcGET", 6) ==
          outcome{"abc", 3, body_status::complete});
    CHECK(run(body_framer(framing::length, 3), "abcGET", 1) ==
          outcome{"abc", 3, body_status::complete});
    body_framer cut(framing::length, 3);
    CHECK(cut.consume("ab", [](std::string_view) {}).status == body_status::more);
    CHECK(cut.remaining() == 1);
    CHECK_FALSE(cut.at_eof());
}

TEST_CASE("a body until the connection closes") {
    body_framer framer(framing::until_close, 0);
    CHECK(framer.consume("abc", [](std::string_view) {}).status == body_status::more);
    CHECK_FALSE(framer.complete());
    CHECK(framer.at_eof());
    CHECK(framer.complete());
}

TEST_CASE("chunks are stripped") {
    CHECK(chunked("3\r\nabc\r\n0\r\n\r\n") == outcome{"abc", 13, body_status::complete});
    CHECK(chunked("3\r\nabc\r\n0\r\n\r\nGET /") == outcome{"abc", 13, body_status::complete});
    CHECK(chunked("0\r\n\r\n") == outcome{"", 5, body_status::complete});
    CHECK(chunked("0A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n").payload == "0123456789");
    CHECK(chunked("a\r\n0123456789\r\n1\r\n\n\r\n0\r\n\r\n").payload == "0123456789\n");
}

TEST_CASE("a cut chunked body is not complete") {
    const std::string whole = "3\r\nabc\r\n0\r\n\r\n";
    for (std::size_t n = 0; n < whole.size(); ++n) {
        body_framer framer(framing::chunked, 0);
        CHECK(framer.consume(whole.substr(0, n), [](std::string_view) {}).status ==
              body_status::more);
        CHECK_FALSE(framer.at_eof());
    }
}

TEST_CASE("broken chunks are refused") {
    const std::vector<std::string> rows = {
        "\r\n",
        " 3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        "3\nabc\r\n",
        "3\r\nabc\n",
        "3\r\nabcd\r\n",
        "3\r\nabc0\r\n",
        "3\r\rabc",
        "+3\r\nabc\r\n",
        "-3\r\nabc\r\n",
        "0x3\r\nabc\r\n",
        "g\r\n",
        "3;\nabc",
        "3;a\nb\r\nabc\r\n",
        std::string("3;a\0b\r\nabc\r\n", 12),
        "ffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "1\r\na\r\n7fffffffffffffff\r\n",
        "00000000000000003\r\nabc\r\n",
        "3;" + std::string(80, 'x') + "\r\nabc\r\n",
        "0\r\n\n",
        "0\r\n\rX",
        "0\r\nX: y\r\n\r\n",
        "0\r\nAuthorization: Bearer x\r\n\r\n",
    };
    for (const std::string& raw : rows) {
        INFO(raw);
        CHECK(chunked(raw).status == body_status::malformed);
    }
}

TEST_CASE("extensions are bounded over the whole body") {
    std::string raw;
    for (int i = 0; i < 200; ++i)
        raw += "1;" + std::string(50, 'x') + "\r\na\r\n";
    CHECK(chunked(raw).status == body_status::malformed);
    CHECK(chunked(raw.substr(0, raw.size() / 2)).status == body_status::more);
}

TEST_CASE("trailers from an upstream are passed over, within bounds") {
    const auto with = [](const std::string& trailers) {
        return chunked("1\r\na\r\n0\r\n" + trailers + "\r\n", trailer_rule::skip);
    };
    CHECK(with("X-Sum: 1\r\nGrpc-Status: 0\r\n").status == body_status::complete);
    CHECK(with("X-Sum: 1\r\n").payload == "a");
    CHECK(with("X: 1\n").status == body_status::malformed);
    CHECK(with("X: a\rb\r\n").status == body_status::malformed);
    CHECK(with("X : 1\r\n").status == body_status::malformed);
    CHECK(with(" folded\r\n").status == body_status::malformed);
    CHECK(with(": 1\r\n").status == body_status::malformed);
    CHECK(with("no colon\r\n").status == body_status::malformed);
    CHECK(with("X: " + std::string(9'000, 'a') + "\r\n").status == body_status::malformed);
}

TEST_CASE("chunk heads that we write can be read") {
    for (const std::uint64_t size :
         {std::uint64_t{1}, std::uint64_t{4096}, std::uint64_t{65'535}}) {
        char head[max_chunk_head];
        std::string raw(head, write_chunk_head(head, size));
        raw.append(size, 'x').append(chunk_end).append(last_chunk);
        const outcome out = run(body_framer(framing::chunked, 0), raw, raw.size());
        CHECK(out.payload.size() == size);
        CHECK(out.status == body_status::complete);
    }
    char head[max_chunk_head];
    CHECK(write_chunk_head(head, std::numeric_limits<std::uint64_t>::max()) == max_chunk_head);
}
