// TLS over loopback: verification, resumption, reload, ALPN, deadlines.
#include "net/tls.hpp"

#include "net/connection_cache.hpp"
#include "tests/integration/net/loopback.hpp"

using namespace kw;
using namespace kw::net;
using namespace kw::test;

namespace {

struct outcome {
    errc code = errc::ok;
    std::string context;
    bool reused = false;
    std::string alpn;
};

task<outcome> ping(loop& on, dns_cache& dns, connect_options opts) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    outcome out;
    if (!made) {
        out.code = made.error().code;
        out.context = made.error().context;
        co_return out;
    }
    stream& s = **made;
    co_await s.write_all(w, "ping", opts.deadline);
    const std::string pong = co_await read_n(s, w, 4, opts.deadline);
    CHECK(pong == "ping");
    out.reused = s.session_reused();
    out.alpn = s.alpn();
    co_return out;
}

task<void> silent(loop& on, std::unique_ptr<stream> s) {
    waiter w(on);
    s->attach(&w, read_a, write_a);
    co_await sleep_until(w, on.now() + 1s);
}

}  // namespace

TEST_CASE("a verified handshake agrees on http/1.1, and the next one resumes", "[net][tls]") {
    bench b;
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), b.server_tls); });
    auto opts = b.to(srv.port());
    opts.to.tls = b.client_tls();
    const auto first = run(b.on, ping(b.on, b.dns, opts));
    CHECK(first.context == "");
    REQUIRE(first.code == errc::ok);
    CHECK_FALSE(first.reused);
    CHECK(first.alpn == "http/1.1");
    const auto second = run(b.on, ping(b.on, b.dns, opts));
    CHECK(second.reused);
    // Another name does not share the session.
    opts.to.sni = "localhost";
    CHECK_FALSE(run(b.on, ping(b.on, b.dns, opts)).reused);
}

TEST_CASE("a certificate that cannot be trusted ends in upstream_tls_error with its reason",
          "[net][tls]") {
    bench b;
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), b.server_tls); });
    auto opts = b.to(srv.port());
    SECTION("another authority") {
        const temp_certificate other;
        opts.to.tls = *tls_client_context::create({other.certificate_file(), true});
        const auto r = run(b.on, ping(b.on, b.dns, opts));
        CHECK(r.code == errc::upstream_tls_error);
        CHECK(r.context.find("certificate verify failed: ") != std::string::npos);
        CHECK(r.context.find("self-signed") != std::string::npos);
    }
    SECTION("the system's authorities") {
        opts.to.tls = *tls_client_context::create({});
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::upstream_tls_error);
    }
    SECTION("the system's, and others beside them") {
        const temp_certificate other;
        const auto system =
            b.certificate.certificate_file();  // as this process' environment has it
        REQUIRE(::setenv("SSL_CERT_FILE", system.c_str(), 1) == 0);
        opts.to.tls = *tls_client_context::create({other.certificate_file(), true, true});
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::ok);
        opts.to.tls = *tls_client_context::create({other.certificate_file(), true, false});
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::upstream_tls_error);
        REQUIRE(::unsetenv("SSL_CERT_FILE") == 0);
        opts.to.tls = *tls_client_context::create({system, true, true});
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::ok);
    }
    SECTION("another host name") {
        opts.to.tls = b.client_tls();
        opts.to.sni = "other.example";
        const auto r = run(b.on, ping(b.on, b.dns, opts));
        CHECK(r.code == errc::upstream_tls_error);
        CHECK(r.context.find("ostname mismatch") != std::string::npos);
    }
    SECTION("another address") {
        opts.to.tls = b.client_tls();
        opts.to.sni = "127.0.0.2";
        const auto r = run(b.on, ping(b.on, b.dns, opts));
        CHECK(r.code == errc::upstream_tls_error);
        CHECK(r.context.find("IP address mismatch") != std::string::npos);
    }
    SECTION("verification off takes any") {
        opts.to.sni = "other.example";
        opts.to.tls = *tls_client_context::create({"", false});
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::ok);
    }
}

TEST_CASE("a server that does not speak TLS, or says nothing, has its own error", "[net][tls]") {
    bench b;
    auto opts = b.to(0);
    opts.to.tls = b.client_tls();
    SECTION("plain") {
        server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), nullptr); });
        opts.to.port = srv.port();
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::upstream_tls_error);
    }
    SECTION("silence") {
        server srv(b.on, [&](auto s) { return silent(b.on, std::move(s)); });
        opts.to.port = srv.port();
        opts.tls_timeout = 100ms;
        CHECK(run(b.on, ping(b.on, b.dns, opts)).code == errc::upstream_tls_timeout);
    }
    SECTION("closes at once") {
        server srv(b.on, [](std::unique_ptr<stream>) -> task<void> { co_return; });
        opts.to.port = srv.port();
        const auto r = run(b.on, ping(b.on, b.dns, opts));
        CHECK(r.code == errc::upstream_tls_error);
    }
}

namespace {
task<void> reload_under(bench& b, connect_options old_opts) {
    waiter w(b.on);
    auto made = co_await connect(b.on, w, b.dns, old_opts);
    REQUIRE(made.has_value());
    stream& s = **made;
    co_await s.write_all(w, "a", old_opts.deadline);
    const std::string before = co_await read_n(s, w, 1, old_opts.deadline);
    CHECK(before == "a");

    const auto expires = b.server_tls->expires();
    CHECK(expires > b.clock.wall());
    b.certificate.spoil();
    const auto refused = b.server_tls->reload();
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::invalid_argument);
    const auto with_old = co_await ping(b.on, b.dns, old_opts);
    CHECK(with_old.code == errc::ok);

    b.certificate.renew();
    REQUIRE(b.server_tls->reload().has_value());
    // The running stream goes on; a new handshake sees the new certificate only.
    co_await s.write_all(w, "b", old_opts.deadline);
    const std::string after = co_await read_n(s, w, 1, old_opts.deadline);
    CHECK(after == "b");
    const auto distrusted = co_await ping(b.on, b.dns, old_opts);
    CHECK(distrusted.code == errc::upstream_tls_error);
    connect_options fresh = old_opts;
    fresh.to.tls = b.client_tls();
    const auto trusted = co_await ping(b.on, b.dns, fresh);
    CHECK(trusted.code == errc::ok);
}
}  // namespace

TEST_CASE("a certificate is reloaded under an open stream", "[net][tls]") {
    bench b;
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), b.server_tls); });
    auto opts = b.to(srv.port());
    opts.to.tls = b.client_tls();
    run(b.on, reload_under(b, opts));
}

TEST_CASE("files that do not fit together are refused", "[net][tls]") {
    const temp_certificate one;
    const temp_certificate two;
    CHECK_FALSE(tls_server_context::create({one.certificate_file(), two.key_file()}).has_value());
    CHECK_FALSE(tls_server_context::create({"/nonexistent", one.key_file()}).has_value());
    CHECK_FALSE(tls_client_context::create({"/nonexistent", true}).has_value());
    CHECK_FALSE(make_self_signed(std::vector<std::string>{"a,DNS:b"}, 1).has_value());
    CHECK_FALSE(make_self_signed({}, 1).has_value());
}

TEST_CASE("whatever its serial number, a self-signed certificate can be loaded", "[net][tls]") {
    temp_certificate files;
    int refused = 0;
    for (int i = 0; i < 1000; ++i) {
        files.renew();
        const auto made = tls_server_context::create({files.certificate_file(), files.key_file()});
        if (!made) ++refused;
    }
    CHECK(refused == 0);
}

namespace {
task<std::unique_ptr<stream>> open_used(bench& b, waiter& w, connect_options opts) {
    auto made = co_await connect(b.on, w, b.dns, opts);
    REQUIRE(made.has_value());
    co_await (*made)->write_all(w, "x", opts.deadline);
    const std::string back = co_await read_n(**made, w, 1, opts.deadline);
    CHECK(back == "x");
    co_return std::move(*made);
}
}  // namespace

TEST_CASE("a TLS connection survives in the cache and leaves it when the peer goes", "[net][tls]") {
    bench b;
    std::unique_ptr<waiter> stop = std::make_unique<waiter>(b.on);
    server srv(b.on, [&](auto s) { return echo(b.on, std::move(s), b.server_tls); });
    auto opts = b.to(srv.port());
    opts.to.tls = b.client_tls();
    connection_cache cache(b.on, {});
    const auto id = cache.id_for(identity_of(opts));
    {
        waiter w(b.on);
        cache.put(id, run(b.on, open_used(b, w, opts)));
    }
    for (int i = 0; i < 5; ++i)
        b.on.run_turn(5);
    REQUIRE(cache.idle() == 1);
    waiter w(b.on);
    auto s = cache.take(id);
    REQUIRE(s);
    s->attach(&w, read_b, write_b);
    run(b.on, [](stream& c, waiter& v, mono_time by) -> task<void> {
        co_await c.write_all(v, "again", by);
        const std::string back = co_await read_n(c, v, 5, by);
        CHECK(back == "again");
        // The echo ends when it sees this, and closes from its side.
        c.shutdown_write();
    }(*s, w, b.soon()));
    cache.put(id, std::move(s));
    run_until(b.on, [&] { return cache.idle() == 0; });
}
