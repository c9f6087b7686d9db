// Two ends of a real TCP connection on loopback, both on the test's loop, with or without TLS.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "net/connector.hpp"
#include "net/listener.hpp"
#include "net/resolver.hpp"
#include "net/tls.hpp"
#include "tests/support/loop_runner.hpp"
#include "tests/support/temp_certificate.hpp"

namespace kw::test {

using namespace std::chrono_literals;

// A listener that serves each connection with a coroutine.
class server {
  public:
    using session = std::function<net::task<void>(std::unique_ptr<net::stream>)>;

    server(net::loop& on, session serve) : serve_(std::move(serve)) {
        auto opened = net::listener::open(on, {}, [this](std::unique_ptr<net::stream> s) {
            sessions_.emplace_back().start("test.server", serve_(std::move(s)));
        });
        if (!opened) throw std::runtime_error(opened.error().context);
        listener_ = std::move(*opened);
    }
    [[nodiscard]] std::uint16_t port() const { return listener_->local().port; }
    [[nodiscard]] net::listener& get() { return *listener_; }

  private:
    session serve_;
    std::list<net::owned_root> sessions_;  // ended with this object, however far they are
    std::unique_ptr<net::listener> listener_;
};

struct bench {
    system_clock_source clock;
    net::loop on{clock};
    net::resolver helper;
    net::dns_cache dns{on, helper};
    temp_certificate certificate;
    std::shared_ptr<net::tls_server_context> server_tls =
        *net::tls_server_context::create({certificate.certificate_file(), certificate.key_file()});

    // Trusts that certificate alone.
    [[nodiscard]] std::shared_ptr<net::tls_client_context> client_tls() const {
        return *net::tls_client_context::create({certificate.certificate_file(), true});
    }
    [[nodiscard]] net::connect_options to(std::uint16_t port) const {
        net::connect_options o;
        o.to.host = "127.0.0.1";
        o.to.port = port;
        o.deadline = clock.mono() + 10s;
        return o;
    }
    [[nodiscard]] mono_time soon() const { return clock.mono() + 10s; }
};

// Reads exactly n bytes, or less at the end.
inline net::task<std::string> read_n(net::stream& s, net::waiter& w, std::size_t n,
                                     mono_time deadline) {
    std::string out;
    char some[4096];
    while (out.size() < n) {
        const auto r = s.read(std::span(some).first(std::min(sizeof some, n - out.size())));
        if (r.ok()) {
            out.append(some, r.bytes);
        } else if (r.would_block()) {
            const net::events got = co_await w.wait(s.bit_for(r.status), deadline);
            if (got & net::timed_out) co_return out;
        } else {
            co_return out;
        }
    }
    co_return out;
}

// Sends back all it gets until the other side ends.
inline net::task<void> echo(net::loop& on, std::unique_ptr<net::stream> s,
                            std::shared_ptr<net::tls_server_context> tls) {
    net::waiter w(on);
    s->attach(&w, net::read_a, net::write_a);
    const mono_time by = on.now() + 10s;
    if (tls) {
        if (!tls->start(*s)) co_return;
        const auto shaken = co_await net::handshake(*s, w, by);
        if (!shaken) co_return;
    }
    char some[4096];
    for (;;) {
        const auto r = s->read(some);
        if (r.ok()) {
            const auto sent = co_await s->write_all(w, std::string_view(some, r.bytes), by);
            if (!sent.ok()) co_return;
        } else if (r.would_block()) {
            const net::events got = co_await w.wait(s->bit_for(r.status), by);
            if (got & net::timed_out) co_return;
        } else {
            co_return;
        }
    }
}

}  // namespace kw::test
