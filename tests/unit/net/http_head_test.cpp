// The head parser against a table of what must pass and what must not, fed whole and in pieces.
#include "net/http_head.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace kw;
using namespace kw::net;

namespace {

std::string get(const std::string& headers, const std::string& line = "GET /v1/models HTTP/1.1") {
    return line + "\r\n" + headers + "\r\n";
}
const std::string host = "Host: a\r\n";

// Parses whole and a byte at a time; both must agree.
int request_status(const std::string& text, const head_limits& limits = {}) {
    http_head whole(limits);
    const parse_status at_once = whole.parse_request(text);
    http_head split(limits);
    parse_status by_bytes = parse_status::need_more;
    for (std::size_t n = 1; n <= text.size() && by_bytes == parse_status::need_more; ++n)
        by_bytes = split.parse_request(std::string(text, 0, n));  // another buffer each time
    CHECK(at_once == by_bytes);
    CHECK(whole.fault().status == split.fault().status);
    if (at_once == parse_status::need_more) return 0;
    return at_once == parse_status::done ? 200 : whole.fault().status;
}

parse_status response(http_head& head, const std::string& text, bool head_request = false) {
    static std::string kept;  // the head's views outlive the call
    kept = text;
    head.reset();
    const parse_status at_once = head.parse_response(kept, head_request);
    http_head split;
    parse_status by_bytes = parse_status::need_more;
    for (std::size_t n = 1; n <= text.size() && by_bytes == parse_status::need_more; ++n)
        by_bytes = split.parse_response(std::string(text, 0, n), head_request);
    CHECK(at_once == by_bytes);
    return at_once;
}

}  // namespace

TEST_CASE("a usual request is read with all its facts") {
    const std::string text =
        "POST /v1/chat/completions?trace=1&x=%20 HTTP/1.1\r\n"
        "Host: proxy.example:8080\r\n"
        "AUTHORIZATION:Bearer sk-1\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        "Content-Length: 42\r\n"
        "X-Stainless-Lang:\t js \t\r\n"
        "Expect: 100-Continue\r\n"
        "Empty:\r\n"
        "\r\nbody";
    http_head head;
    REQUIRE(head.parse_request(text) == parse_status::done);
    CHECK(head.consumed() == text.size() - 4);
    CHECK(head.method() == "POST");
    CHECK(head.method_kind() == method_id::post);
    CHECK(head.target() == "/v1/chat/completions?trace=1&x=%20");
    CHECK(head.path() == "/v1/chat/completions");
    CHECK(head.query() == "trace=1&x=%20");
    CHECK(head.host() == "proxy.example:8080");
    CHECK(head.host_name() == "proxy.example");
    CHECK(head.find(header_id::authorization) == "Bearer sk-1");
    CHECK(head.find("x-stainless-lang") == "js");
    CHECK(head.find("empty").empty());
    CHECK(head.body() == framing::length);
    CHECK(head.body_length() == 42);
    CHECK(head.keep_alive());
    CHECK(head.expect_continue());
    CHECK(head.minor_version() == 1);
    CHECK(head.size() == 7);
    CHECK_FALSE(head.is_event_stream());
    std::vector<std::string> names;
    for (const auto h : head)
        names.emplace_back(h.name);
    CHECK(names.back() == "Empty");

    const std::string moved(text.begin(), text.end());
    head.rebase(moved.data());
    CHECK(head.path().data() == moved.data() + 5);

    head.reset();
    CHECK(head.parse_request(get(host)) == parse_status::done);
    CHECK(head.size() == 1);
    CHECK_FALSE(head.has(header_id::authorization));
    CHECK(head.body() == framing::none);
}

TEST_CASE("requests that have two readings, or none, are refused") {
    struct row {
        const char* what;
        std::string text;
        int status;
    };
    const std::string post = "POST /v1/x HTTP/1.1";
    const std::vector<row> rows = {
        // Framing.
        {"CL and TE", get(host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", post), 400},
        {"TE and CL", get(host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", post), 400},
        {"two CL, equal", get(host + "Content-Length: 3\r\nContent-Length: 3\r\n", post), 400},
        {"two CL, other", get(host + "Content-Length: 3\r\ncontent-length: 4\r\n", post), 400},
        {"CL list", get(host + "Content-Length: 3, 3\r\n", post), 400},
        {"CL plus", get(host + "Content-Length: +3\r\n", post), 400},
        {"CL minus", get(host + "Content-Length: -3\r\n", post), 400},
        {"CL hex", get(host + "Content-Length: 0x3\r\n", post), 400},
        {"CL octal", get(host + "Content-Length: 010\r\n", post), 400},
        {"CL space inside", get(host + "Content-Length: 1 0\r\n", post), 400},
        {"CL empty", get(host + "Content-Length:\r\n", post), 400},
        {"CL too big", get(host + "Content-Length: 18446744073709551617\r\n", post), 413},
        {"CL underscore", get(host + "Content_Length: 3\r\n", post), 400},
        {"TE underscore", get(host + "transfer_encoding: chunked\r\n", post), 400},
        {"TE identity", get(host + "Transfer-Encoding: identity\r\n", post), 501},
        {"TE xchunked", get(host + "Transfer-Encoding: xchunked\r\n", post), 501},
        {"TE chunked, identity", get(host + "Transfer-Encoding: chunked, identity\r\n", post), 501},
        {"TE gzip, chunked", get(host + "Transfer-Encoding: gzip, chunked\r\n", post), 501},
        {"TE chunked, chunked", get(host + "Transfer-Encoding: chunked, chunked\r\n", post), 501},
        {"TE quoted", get(host + "Transfer-Encoding: \"chunked\"\r\n", post), 501},
        {"TE trailing comma", get(host + "Transfer-Encoding: chunked,\r\n", post), 501},
        {"TE vertical tab", get(host + "Transfer-Encoding: \vchunked\r\n", post), 400},
        {"TE parameter", get(host + "Transfer-Encoding: chunked;q=1\r\n", post), 501},
        {"TE empty", get(host + "Transfer-Encoding:\r\n", post), 501},
        {"TE twice",
         get(host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", post), 400},
        {"TE twice, other",
         get(host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", post), 400},
        {"TE in 1.0", get(host + "Transfer-Encoding: chunked\r\n", "POST /v1/x HTTP/1.0"), 400},
        {"TE folded", get(host + "Transfer-Encoding:\r\n chunked\r\n", post), 400},
        {"TE space before colon", get(host + "Transfer-Encoding : chunked\r\n", post), 400},
        {"connection names CL", get(host + "Connection: Content-Length\r\nContent-Length: 1\r\n"),
         400},
        {"connection names Host", get(host + "Connection: close, host\r\n"), 400},
        {"connection names auth", get(host + "Connection: authorization\r\n"), 400},
        {"trailer announced without chunks", get(host + "Trailer: x\r\n"), 400},
        // Host.
        {"no host", get("A: b\r\n"), 400},
        {"two hosts", get("Host: a\r\nHost: a\r\n"), 400},
        {"two hosts in 1.0", get("Host: a\r\nHost: b\r\n", "GET / HTTP/1.0"), 400},
        {"host empty", get("Host:\r\n"), 400},
        {"host list", get("Host: a, b\r\n"), 400},
        {"host with user", get("Host: a@b\r\n"), 400},
        {"host with path", get("Host: a/b\r\n"), 400},
        {"host with bad port", get("Host: a:80x\r\n"), 400},
        {"host with empty port", get("Host: a:\r\n"), 400},
        {"host with half a bracket", get("Host: [::1\r\n"), 400},
        {"host with text in brackets", get("Host: [host]\r\n"), 400},
        // Line ends and white space.
        {"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
        {"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
        {"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
        {"bare CR in a value", get("Host: a\r\nX: a\rb\r\n"), 400},
        {"bare CR as line end", get("Host: a\rX: b\r\n"), 400},
        {"CR CR LF", get("Host: a\r\r\n"), 400},
        {"folded with space", get(host + "X: a\r\n b\r\n"), 400},
        {"folded with tab", get(host + "X: a\r\n\tb\r\n"), 400},
        {"folded first", get(" Host: a\r\n"), 400},
        {"space before colon", get("Host : a\r\n"), 400},
        {"tab before colon", get("Host\t: a\r\n"), 400},
        {"no colon", get(host + "nonsense\r\n"), 400},
        {"empty name", get(host + ": x\r\n"), 400},
        {"NUL in a value", get(host + std::string("X: a\0b\r\n", 8)), 400},
        {"NUL in a name", get(host + std::string("X\0: a\r\n", 7)), 400},
        {"DEL in a value", get(host + "X: a\x7F\r\n"), 400},
        {"control in a long value", get(host + "X: abcdefghijklm\x01nopqrstuvw\r\n"), 400},
        {"high byte in a name", get(host + "X\xC3\xA9: a\r\n"), 400},
        {"parenthesis in a name", get(host + "X(: a\r\n"), 400},
        {"empty line first", "\r\n" + get(host), 400},
        // Request line.
        {"only LF", "\n", 400},
        {"TLS hello", std::string("\x16\x03\x01\x02\x00", 5), 400},
        {"HTTP/0.9", "GET /\r\n\r\n", 400},
        {"two spaces before target", get(host, "GET  /v1/x HTTP/1.1"), 400},
        {"two spaces before version", get(host, "GET /v1/x  HTTP/1.1"), 400},
        {"tab as separator", get(host, "GET\t/v1/x\tHTTP/1.1"), 400},
        {"space in target", get(host, "GET /v1/a b HTTP/1.1"), 400},
        {"space after version", get(host, "GET /v1/x HTTP/1.1 "), 400},
        {"version in lower case", get(host, "GET /v1/x http/1.1"), 400},
        {"version 1.2", get(host, "GET /v1/x HTTP/1.2"), 505},
        {"version 2.0", get(host, "PRI * HTTP/2.0"), 505},
        {"version 1.10", get(host, "GET /v1/x HTTP/1.10"), 400},
        {"version 1.", get(host, "GET /v1/x HTTP/1."), 400},
        {"method with a colon", get(host, "G:T /v1/x HTTP/1.1"), 400},
        {"CONNECT", get(host, "CONNECT a:443 HTTP/1.1"), 501},
        {"TRACE", get(host, "TRACE / HTTP/1.1"), 501},
        {"endless method", get(host, std::string(30, 'A') + " / HTTP/1.1"), 501},
        // Target.
        {"absolute form", get(host, "GET http://a/v1/x HTTP/1.1"), 400},
        {"authority form", get(host, "GET a:80 HTTP/1.1"), 400},
        {"star with GET", get(host, "GET * HTTP/1.1"), 400},
        {"two slashes first", get(host, "GET //evil/v1 HTTP/1.1"), 400},
        {"fragment", get(host, "GET /v1/x#y HTTP/1.1"), 400},
        {"fragment in the query", get(host, "GET /v1/x?a#y HTTP/1.1"), 400},
        {"backslash", get(host, "GET /v1\\..\\admin HTTP/1.1"), 400},
        {"high byte", get(host, "GET /v1/\xC3\xA9 HTTP/1.1"), 400},
        {"NUL", get(host, std::string("GET /v1/a\0b HTTP/1.1", 20)), 400},
        {"dot dot", get(host, "GET /v1/../admin HTTP/1.1"), 400},
        {"dot dot last", get(host, "GET /v1/.. HTTP/1.1"), 400},
        {"dot dot before a query", get(host, "GET /v1/..?a HTTP/1.1"), 400},
        {"single dot", get(host, "GET /v1/./admin HTTP/1.1"), 400},
        {"encoded dots", get(host, "GET /v1/%2e%2E/admin HTTP/1.1"), 400},
        {"half encoded dots", get(host, "GET /v1/.%2e/admin HTTP/1.1"), 400},
        {"encoded slash and dots", get(host, "GET /v1/x%2f..%2Fadmin HTTP/1.1"), 400},
        {"encoded backslash", get(host, "GET /v1/x%5c..%5cadmin HTTP/1.1"), 400},
        {"dots with a parameter", get(host, "GET /v1/..;a/admin HTTP/1.1"), 400},
        {"encoded twice", get(host, "GET /v1/%252e%252e/admin HTTP/1.1"), 400},
        {"overlong dot", get(host, "GET /v1/%c0%ae%c0%ae/admin HTTP/1.1"), 400},
        {"encoded NUL", get(host, "GET /v1/a%00b HTTP/1.1"), 400},
        {"encoded CR LF", get(host, "GET /v1/a%0d%0aX:y HTTP/1.1"), 400},
        {"broken percent", get(host, "GET /v1/a%2 HTTP/1.1"), 400},
        {"no hex after percent", get(host, "GET /v1/a%zz HTTP/1.1"), 400},
        // Expectations and singletons.
        {"other expectation", get(host + "Expect: 200-ok\r\n"), 417},
        {"expect list", get(host + "Expect: 100-continue, x\r\n"), 417},
        {"two authorizations", get(host + "Authorization: Bearer a\r\nauthorization: b\r\n"), 400},
        {"two api keys", get(host + "x-api-key: a\r\nX-Api-Key: b\r\n"), 400},
        {"two content types", get(host + "Content-Type: a\r\nContent-Type: b\r\n"), 400},
    };
    for (const row& r : rows) {
        INFO(r.what);
        CHECK(request_status(r.text) == r.status);
    }
}

TEST_CASE("odd but unambiguous requests pass") {
    const std::vector<std::string> good = {
        get(host),
        get("hOsT: [::1]:8080\r\n"),
        get("Host: my_host.local\r\n"),
        get("", "GET / HTTP/1.0"),
        get(host, "OPTIONS * HTTP/1.1"),
        get(host, "PURGE /v1/x HTTP/1.1"),
        get(host, "GET /v1/models/org%2Fmodel HTTP/1.1"),
        get(host, "GET /v1/models/ft:gpt-4o:org::id HTTP/1.1"),
        get(host, "GET /v1/a..b/...x/.hidden HTTP/1.1"),
        get(host, "GET /v1/..a/%E4%BD%A0 HTTP/1.1"),
        get(host, "GET /v1/x?a=../..&b={c}|d HTTP/1.1"),
        get(host + "Transfer-Encoding: CHUNKED\r\n", "POST /v1/x HTTP/1.1"),
        get(host + "Content-Length: 0\r\n", "POST /v1/x HTTP/1.1"),
        get(host + "X: caf\xC3\xA9 \t end\r\n"),
        get(host + "X-Many: 1\r\nX-Many: 2\r\nCookie: a\r\nCookie: b\r\n"),
        get(host + "Connection: keep-alive, , x-mine\r\nX-Mine: 1\r\n"),
        get(host + "Client_Id: 4\r\n"),
    };
    for (const std::string& text : good) {
        INFO(text);
        CHECK(request_status(text) == 200);
    }
    http_head head;
    REQUIRE(head.parse_request(good[1]) == parse_status::done);
    CHECK(head.host_name() == "[::1]");
}

TEST_CASE("connection options decide what travels on") {
    const std::string text = get(host +
                                 "X-Mine: 1\r\nX-Ours: 1\r\nTE: trailers\r\n"
                                 "Connection: X-mine, Upgrade\r\nUpgrade: websocket\r\n");
    http_head head;
    REQUIRE(head.parse_request(text) == parse_status::done);
    std::string travels;
    for (const auto h : head) {
        if (!h.hop_by_hop) travels += std::string(h.name) + " ";
    }
    CHECK(travels == "Host X-Ours ");
    CHECK(head.wants_upgrade());
    CHECK(head.keep_alive());

    const auto keeps = [&](const std::string& other) {
        head.reset();
        REQUIRE(head.parse_request(other) == parse_status::done);
        return head.keep_alive();
    };
    CHECK_FALSE(keeps(get(host + "Connection: foo, CLOSE\r\n")));
    CHECK_FALSE(keeps(get(host, "GET / HTTP/1.0")));
    CHECK(keeps(get(host + "Connection: Keep-Alive\r\n", "GET / HTTP/1.0")));
    CHECK_FALSE(keeps(get(host + "Connection: keep-alive, close\r\n", "GET / HTTP/1.0")));
}

TEST_CASE("expect is a fact only where somebody can wait") {
    http_head head;
    const auto expects = [&](const std::string& text) {
        head.reset();
        REQUIRE(head.parse_request(text) == parse_status::done);
        return head.expect_continue();
    };
    const std::string e = "Expect: 100-continue\r\n";
    CHECK(expects(get(host + e + "Transfer-Encoding: chunked\r\n", "POST / HTTP/1.1")));
    CHECK_FALSE(expects(get(host + e)));
    CHECK_FALSE(expects(get(host + e + "Content-Length: 0\r\n", "POST / HTTP/1.1")));
    CHECK_FALSE(expects(get(host + e + "Content-Length: 5\r\n", "POST / HTTP/1.0")));
}

TEST_CASE("limits of a head") {
    CHECK(request_status(get(host + "X: " + std::string(70'000, 'a') + "\r\n")) == 431);
    CHECK(request_status("GET / HTTP/1.1\r\nX: " + std::string(70'000, 'a')) == 431);
    std::string many = host;
    for (int i = 0; i < 100; ++i)
        many += "X: y\r\n";
    CHECK(request_status(get(many)) == 431);
    CHECK(request_status(get(host, "GET /" + std::string(9'000, 'a') + " HTTP/1.1")) == 414);
    CHECK(request_status("GET /" + std::string(9'000, 'a')) == 414);
    CHECK(request_status(get(host, "GET /" + std::string(8'000, 'a') + " HTTP/1.1")) == 200);

    const std::string exact = get(host);
    CHECK(request_status(exact, {.max_head = exact.size()}) == 200);
    CHECK(request_status(exact, {.max_head = exact.size() - 1}) == 431);
    CHECK(request_status(exact, {.max_headers = 1}) == 200);
    CHECK(request_status(exact + std::string(100'000, 'b')) == 200);
    // More than there is room for is cut to it.
    many = host;
    for (int i = 0; i < 127; ++i)
        many += "X: y\r\n";
    CHECK(request_status(get(many), {.max_headers = 1'000}) == 200);
    CHECK(request_status(get(many + "X: y\r\n"), {.max_headers = 1'000}) == 431);
}

TEST_CASE("headers beyond those at hand are kept like the others") {
    std::string many = host;
    for (int i = 1; i < 60; ++i)
        many += "X-" + std::to_string(i) + ": value " + std::to_string(i) + "\r\n";
    const std::string text = get(many + "Connection: X-50\r\n");
    http_head head;
    for (int turn = 0; turn < 2; ++turn) {
        REQUIRE(head.parse_request(text) == parse_status::done);
        REQUIRE(head.size() == 61);
        CHECK(head.at(59).name == "X-59");
        CHECK(head.find("x-45") == "value 45");
        CHECK(head.at(50).hop_by_hop);
        CHECK_FALSE(head.at(51).hop_by_hop);
        head.reset();
    }
}

TEST_CASE("an unfinished head is waited for") {
    CHECK(request_status("") == 0);
    CHECK(request_status("GET") == 0);
    CHECK(request_status("GET / HTTP/1.1\r\nHost: a\r\n\r") == 0);
}

TEST_CASE("a usual response is read with all its facts") {
    http_head head;
    REQUIRE(response(head,
                     "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\n"
                     "Transfer-Encoding: chunked\r\nRetry-After: 3\r\n\r\n") == parse_status::done);
    CHECK(head.status() == 200);
    CHECK(head.reason() == "OK");
    CHECK(head.body() == framing::chunked);
    CHECK(head.is_event_stream());
    CHECK(head.keep_alive());
    CHECK(head.find(header_id::retry_after) == "3");
    CHECK_FALSE(head.content_length());

    REQUIRE(response(head,
                     "HTTP/1.1 404\r\nContent-Length: 7\r\nSet-Cookie: a\r\n"
                     "Set-Cookie: b\r\n\r\n") == parse_status::done);
    CHECK(head.status() == 404);
    CHECK(head.body_length() == 7);
    REQUIRE(response(head, "HTTP/1.1 200 \r\n\r\n") == parse_status::done);
    CHECK(head.body() == framing::until_close);
    CHECK_FALSE(head.keep_alive());
    REQUIRE(response(head, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n") == parse_status::done);
    CHECK_FALSE(head.keep_alive());
}

TEST_CASE("responses without a body") {
    http_head head;
    const std::string length = "Content-Length: 5\r\n\r\n";
    REQUIRE(response(head, "HTTP/1.1 200 OK\r\n" + length, true) == parse_status::done);
    CHECK(head.body() == framing::none);
    CHECK(head.content_length() == 5U);
    CHECK(head.body_length() == 0);
    CHECK(head.keep_alive());
    REQUIRE(response(head, "HTTP/1.1 304 Not Modified\r\n" + length) == parse_status::done);
    CHECK(head.body() == framing::none);
    CHECK(head.keep_alive());
    REQUIRE(response(head, "HTTP/1.1 204 No Content\r\n\r\n") == parse_status::done);
    CHECK(head.body() == framing::none);
    CHECK(head.keep_alive());
    // It may send the body that it announced: not a connection to use again.
    REQUIRE(response(head, "HTTP/1.1 204 No Content\r\n" + length) == parse_status::done);
    CHECK(head.body() == framing::none);
    CHECK_FALSE(head.keep_alive());
    REQUIRE(response(head, "HTTP/1.1 100 Continue\r\n\r\n") == parse_status::done);
    CHECK(head.informational());
    CHECK(head.body() == framing::none);
}

TEST_CASE("responses that have two readings, or none, are refused") {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    const std::vector<std::string> rows = {
        ok + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        ok + "Content-Length: 3, 3\r\n\r\n",
        ok + "Content-Length: x\r\n\r\n",
        ok + "Content-Length: 99999999999999999999\r\n\r\n",
        ok + "Transfer-Encoding: identity\r\n\r\n",
        ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ok + "X: a\r\n b\r\n\r\n",
        ok + "X : a\r\n\r\n",
        ok + "X: a\rb\r\n\r\n",
        ok + std::string("X: a\0b\r\n\r\n", 10),
        "HTTP/1.1 200 OK\nX: a\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        ok + "X: " + std::string(70'000, 'a'),
    };
    http_head head;
    for (const std::string& text : rows) {
        INFO(text.substr(0, 100));
        CHECK(response(head, text) == parse_status::bad);
        CHECK(head.fault().code == errc::upstream_malformed);
        CHECK(head.fault().status == 502);
    }
}

TEST_CASE("header names are known in any case") {
    CHECK(find_header_id("HOST") == header_id::host);
    CHECK(find_header_id("x-Goog-Api-Key") == header_id::x_goog_api_key);
    CHECK(find_header_id("proxy-authorization") == header_id::proxy_authorization);
    CHECK(find_header_id("hosT2") == header_id::other);
    CHECK(find_header_id("") == header_id::other);
    CHECK(find_header_id("content\x0Dlength") == header_id::other);
    CHECK(is_hop_by_hop(header_id::te));
    CHECK_FALSE(is_hop_by_hop(header_id::host));
}
