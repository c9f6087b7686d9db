// Connecting: refusals, deadlines, several addresses, egress proxies, and the small HTTP client.
#include "net/connector.hpp"

#include "net/http_client.hpp"
#include "tests/integration/net/loopback.hpp"

using namespace kw;
using namespace kw::net;
using namespace kw::test;

namespace {

task<errc> try_connect(loop& on, dns_cache& dns, connect_options opts) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    co_return made ? errc::ok : made.error().code;
}

task<std::string> say(loop& on, dns_cache& dns, connect_options opts) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    if (!made) co_return std::string(to_string(made.error().code)) + ": " + made.error().context;
    co_await (*made)->write_all(w, "hello", opts.deadline);
    const std::string back = co_await read_n(**made, w, 5, opts.deadline);
    co_return back;
}

// Relays one way until the source ends.
task<void> pump(loop& on, std::shared_ptr<stream> from, std::shared_ptr<stream> to,
                std::shared_ptr<waiter> r, std::shared_ptr<waiter> w) {
    char some[2048];
    for (;;) {
        const auto got = from->read(some);
        if (got.ok()) {
            const auto sent =
                co_await to->write_all(*w, std::string_view(some, got.bytes), on.now() + 10s);
            if (!sent.ok()) co_return;
        } else if (got.would_block()) {
            const events e = co_await r->wait(read_a, on.now() + 10s);
            if (e & timed_out) co_return;
        } else {
            to->shutdown_write();
            co_return;
        }
    }
}

// A proxy in a few lines: takes what `expect` says, answers, then relays one exchange of n bytes.
struct tiny_proxy {
    bench& b;
    std::uint16_t upstream;
    bool socks;
    std::string answer;  // instead of success
    std::string seen;
    std::list<owned_root> pumps{};

    task<void> serve(std::unique_ptr<stream> s) {
        waiter w(b.on);
        s->attach(&w, read_a, write_a);
        const auto by = b.on.now() + 10s;
        if (socks) {
            const std::string hello = co_await read_n(*s, w, 3, by);
            const char method = hello[2];
            co_await s->write_all(w, std::string("\x05", 1) + method, by);
            if (method == 2) {
                std::string login = co_await read_n(*s, w, 2, by);
                login += co_await read_n(*s, w, static_cast<std::size_t>(login[1]) + 1, by);
                const std::string password =
                    co_await read_n(*s, w, static_cast<std::size_t>(login.back()), by);
                seen += login.substr(2, login.size() - 3) + ":" + password + " ";
                const bool right = password == "pass";
                const std::string verdict = std::string("\x01", 1) + (right ? '\0' : '\1');
                co_await s->write_all(w, verdict, by);
                if (!right) co_return;
            }
            const std::string head = co_await read_n(*s, w, 5, by);
            const std::size_t more = head[3] == 3 ? static_cast<std::size_t>(head[4]) + 2U : 5;
            const std::string rest = co_await read_n(*s, w, more, by);
            seen += head[3] == 3 ? rest.substr(0, rest.size() - 2) : "ip";
            std::string reply("\x05\x00\x00\x03\x04host\x00\x50", 11);
            if (!answer.empty()) reply[1] = answer[0];
            co_await s->write_all(w, reply, by);
        } else {
            std::string head;
            while (head.find("\r\n\r\n") == head.npos) {
                const std::string one = co_await read_n(*s, w, 1, by);
                if (one.empty()) co_return;
                head += one;
            }
            seen += head;
            if (answer.empty()) {
                co_await s->write_all(w, "HTTP/1.1 200 OK\r\nX: y\r\n\r\n", by);
            } else {
                co_await s->write_all(w, answer, by);
            }
        }
        if (!answer.empty()) co_return;
        waiter up(b.on);
        connect_options opts = b.to(upstream);
        opts.read_bit = read_a;
        opts.write_bit = write_a;
        auto made = co_await connect(b.on, up, b.dns, opts);
        if (!made) co_return;
        auto left = std::shared_ptr<stream>(std::move(s));
        auto right = std::shared_ptr<stream>(std::move(*made));
        auto wl = std::make_shared<waiter>(b.on);
        auto wr = std::make_shared<waiter>(b.on);
        left->attach(wl.get(), read_a, write_a);
        right->attach(wr.get(), read_a, write_a);
        pumps.emplace_back().start("test.pump", pump(b.on, left, right, wl, wr));
        co_await pump(b.on, right, left, wr, wl);
    }
};

}  // namespace

TEST_CASE("a refused connection and an unknown name have their codes", "[net][connector]") {
    bench b;
    std::uint16_t port = 0;
    {
        server gone(b.on, [&](auto s) { return echo(b.on, std::move(s), nullptr); });
        port = gone.port();
    }
    CHECK(run(b.on, try_connect(b.on, b.dns, b.to(port))) == errc::upstream_connect_error);
    auto opts = b.to(80);
    opts.to.host = "no-such-name.invalid";
    CHECK(run(b.on, try_connect(b.on, b.dns, opts)) == errc::upstream_dns_error);
}

TEST_CASE("a backlog that is full ends in a connect timeout", "[net][connector]") {
    bench b;
    // A listener that nobody accepts from, with room for one: the kernel drops further SYNs.
    listen_options lo;
    lo.backlog = 0;
    auto l = listener::open(b.on, lo, [](auto) {});
    REQUIRE(l.has_value());
    (*l)->pause();
    auto opts = b.to((*l)->local().port);
    opts.connect_timeout = 150ms;
    std::vector<errc> got;
    waiter w(b.on);
    std::vector<std::unique_ptr<stream>> kept;
    for (int i = 0; i < 4; ++i) {
        auto made = run(b.on, connect(b.on, w, b.dns, opts));
        got.push_back(made ? errc::ok : made.error().code);
        if (!made) continue;
        (*made)->attach(nullptr, 0, 0);
        kept.push_back(std::move(*made));
    }
    CHECK(std::count(got.begin(), got.end(), errc::upstream_connect_timeout) > 0);
}

TEST_CASE("the second address is tried when the first refuses", "[net][connector]") {
    bench b;
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), nullptr); });
    resolver::options ro;
    ro.look_up = [](const std::string&) -> result<std::vector<ip_address>> {
        return std::vector{*ip_address::parse("127.0.0.77"), *ip_address::parse("127.0.0.1")};
    };
    resolver two(ro);
    dns_cache dns(b.on, two);
    auto opts = b.to(srv.port());
    opts.to.host = "two.example";
    CHECK(run(b.on, say(b.on, dns, opts)) == "hello");
}

TEST_CASE("egress proxies lead to the upstream, with TLS through them", "[net][connector]") {
    bench b;
    const bool socks = GENERATE(false, true);
    const bool tls = GENERATE(false, true);
    const bool login = GENERATE(false, true);
    server srv(b.on,
               [&](auto s) { return echo(b.on, std::move(s), tls ? b.server_tls : nullptr); });
    tiny_proxy proxy{b, srv.port(), socks, "", ""};
    server front(b.on, [&](auto s) { return proxy.serve(std::move(s)); });
    auto opts = b.to(443);
    opts.to.host = "localhost";  // the proxy's to resolve
    if (tls) opts.to.tls = b.client_tls();
    const std::string at = "127.0.0.1:" + std::to_string(front.port());
    opts.proxy = *parse_egress_proxy(
        secret(std::string(socks ? "socks5://" : "http://") + (login ? "user:pass@" : "") + at));
    CHECK(run(b.on, say(b.on, b.dns, opts)) == "hello");
    if (socks) {
        CHECK(proxy.seen == (login ? "user:pass localhost" : "localhost"));
    } else {
        CHECK(proxy.seen.starts_with("CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n"));
        CHECK((proxy.seen.find("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") !=
               std::string::npos) == login);
    }
}

TEST_CASE("a proxy that refuses is egress_proxy_error and says why", "[net][connector]") {
    bench b;
    const auto attempt = [&](bool socks, const std::string& answer, const std::string& login) {
        tiny_proxy proxy{b, 1, socks, answer, ""};
        server front(b.on, [&](auto s) { return proxy.serve(std::move(s)); });
        auto opts = b.to(443);
        opts.to.host = "localhost";
        opts.proxy = *parse_egress_proxy(secret((socks ? "socks5://" : "http://") + login +
                                                "127.0.0.1:" + std::to_string(front.port())));
        return run(b.on, say(b.on, b.dns, opts));
    };
    CHECK(attempt(false, "HTTP/1.1 407 No\r\n\r\n", "") ==
          "egress_proxy_error: egress proxy: it refuses the user or password (407)");
    CHECK(attempt(false, "HTTP/1.1 502 No\r\n\r\n", "").starts_with("egress_proxy_error: "));
    CHECK(attempt(false, "SSH-2.0-x\r\n\r\n", "").starts_with("egress_proxy_error: "));
    CHECK(attempt(false, "HTTP/1.1 200 OK\r\n\r\nextra", "").starts_with("egress_proxy_error: "));
    CHECK(attempt(true, "\x05", "") ==
          "egress_proxy_error: egress proxy: no way to localhost:443: connection refused");
    CHECK(attempt(true, "", "user:wrong@") ==
          "egress_proxy_error: egress proxy: it refuses the user or password");
    // The proxy itself is not there.
    auto opts = b.to(443);
    std::uint16_t port = 0;
    {
        server gone(b.on, [&](auto s) { return echo(b.on, std::move(s), nullptr); });
        port = gone.port();
    }
    opts.proxy = *parse_egress_proxy(secret("http://127.0.0.1:" + std::to_string(port)));
    CHECK(run(b.on, try_connect(b.on, b.dns, opts)) == errc::egress_proxy_error);
}

TEST_CASE("identities differ where connections may not be shared", "[net][connector]") {
    bench b;
    auto a = b.to(443);
    auto c = a;
    CHECK(identity_of(a) == identity_of(c));
    c.to.tls = b.client_tls();
    CHECK(identity_of(a) != identity_of(c));
    auto d = c;
    d.to.sni = "other";
    CHECK(identity_of(c) != identity_of(d));
    auto e = a;
    e.proxy = *parse_egress_proxy(secret("http://u:canary-password@p:1"));
    CHECK(identity_of(a) != identity_of(e));
    CHECK(identity_of(e).find("canary") == std::string::npos);
}

namespace {

struct scripted_http {
    bench& b;
    std::string answer;
    bool tls;
    std::string seen;
    task<void> serve(std::unique_ptr<stream> s) {
        waiter w(b.on);
        s->attach(&w, read_a, write_a);
        const auto by = b.on.now() + 10s;
        if (tls) {
            if (!b.server_tls->start(*s)) co_return;
            const auto shaken = co_await handshake(*s, w, by);
            if (!shaken) co_return;
        }
        while (seen.find("\r\n\r\n") == seen.npos) {
            const std::string one = co_await read_n(*s, w, 1, by);
            if (one.empty()) co_return;
            seen += one;
        }
        // Unread bytes at the close would make it a reset.
        seen += co_await read_n(*s, w, 2, by);
        co_await s->write_all(w, answer, by);
    }
};

std::string fetch(bench& b, const std::string& answer, bool tls = false, std::size_t max = 1 << 20,
                  std::string* seen = nullptr) {
    scripted_http script{b, answer, tls, ""};
    server srv(b.on, [&](auto s) { return script.serve(std::move(s)); });
    http_request r;
    r.method = "POST";
    r.url =
        (tls ? "https://localhost:" : "http://localhost:") + std::to_string(srv.port()) + "/p?q=1";
    r.body = "{}";
    r.headers = {{"Content-Type", "application/json"}};
    r.credential = {"Authorization", secret("Bearer t")};
    r.deadline = b.soon();
    r.max_response_bytes = max;
    if (tls) r.tls = b.client_tls();
    auto got = run(b.on, request(b.on, b.dns, std::move(r)));
    if (seen) *seen = script.seen;
    if (!got) return std::string(to_string(got.error().code));
    return std::to_string(got->status) + " " + std::string(got->header("x-y")) + " " + got->body;
}

}  // namespace

TEST_CASE("the small client reads whole answers of each framing", "[net][http_client]") {
    bench b;
    std::string seen;
    CHECK(fetch(b, "HTTP/1.1 200 OK\r\nX-Y: z\r\nContent-Length: 5\r\n\r\nhello", false, 1 << 20,
                &seen) == "200 z hello");
    CHECK(seen.starts_with("POST /p?q=1 HTTP/1.1\r\nHost: localhost:"));
    CHECK(seen.find("Authorization: Bearer t\r\n") != std::string::npos);
    CHECK(seen.find("Content-Length: 2\r\n") != std::string::npos);
    CHECK(
        fetch(
            b,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            true) == "200  abcde");
    CHECK(fetch(b, "HTTP/1.1 404 No\r\n\r\nto the end") == "404  to the end");
    CHECK(fetch(b, "HTTP/1.1 404 No\r\n\r\nto the end", true) == "404  to the end");
    CHECK(fetch(b, "HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 204 None\r\n\r\n") == "204  ");
}

TEST_CASE("the small client tells broken answers apart", "[net][http_client]") {
    bench b;
    CHECK(fetch(b, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello") == "upstream_stream_cut");
    CHECK(fetch(b, "") == "upstream_reset");
    CHECK(fetch(b, "nonsense\r\n\r\n") == "upstream_malformed");
    CHECK(fetch(b, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 4) ==
          "upstream_malformed");
    http_request r;
    r.url = "http://localhost/";
    r.headers = {{"X", "a\r\nY: b"}};
    const auto got = run(b.on, request(b.on, b.dns, std::move(r)));
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error().code == errc::invalid_argument);
}
